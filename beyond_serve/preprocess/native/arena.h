// Memory for the decoders: one growing block per worker, reused by every image, so that a steady stream allocates
// nothing. libjpeg asks for it through the symbols of its memory back end, which arena.cpp defines in place
// of jmemnobs.c, libpng through its own hooks, libwebp as webp_memory.h says.
#pragma once

#include <cstddef>
#include <vector>

namespace beyond {

class Arena {
 public:
  explicit Arena(size_t limit) : limit_(limit) {}
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Forgets everything handed out. The block grows to what the last image needed, within the kept size.
  void reset();
  // Aligned to 64 bytes; nullptr beyond the limit or when the system has no more.
  void* allocate(size_t bytes);
  // For decoders that give back in between: nothing happens until reset(), but under the address sanitizer, where
  // use after this shows.
  void release(void* place);
  size_t used() const { return used_; }
  size_t limit() const { return limit_; }

 private:
  void release_overflow();

  size_t limit_;
  char* block_ = nullptr;
  size_t capacity_ = 0;
  size_t placed_ = 0;  // bytes of the block in use
  size_t used_ = 0;    // bytes handed out, in the block or beyond it
  std::vector<void*> overflow_;
};

}  // namespace beyond
