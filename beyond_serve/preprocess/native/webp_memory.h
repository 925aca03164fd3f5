// Memory for libwebp: its allocator is linked against functions of webp_memory.cpp in place of malloc's
// (third_party/CMakeLists.txt), which take from the arena of the image that the thread is decoding.
#pragma once

#include "arena.h"

namespace beyond {

// While it lives, libwebp on this thread allocates from `arena`. They nest, as decodes do.
class WebpMemory {
 public:
  explicit WebpMemory(Arena& arena);
  ~WebpMemory();
  WebpMemory(const WebpMemory&) = delete;
  WebpMemory& operator=(const WebpMemory&) = delete;

 private:
  Arena* before_;
};

}  // namespace beyond
