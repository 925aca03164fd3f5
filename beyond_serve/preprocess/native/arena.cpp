#include "arena.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>

#include "libjpeg.h"

extern "C" {
// jmemsys.h declares what a back end must define. It is internal to libjpeg and stable since 1991.
#include "jmemsys.h"
}

namespace beyond {
namespace {
constexpr size_t kAlignment = 64;
// A block larger than this is given back after the image: one giant must not pin memory for ever.
constexpr size_t kKept = size_t{32} << 20;

// Under the address sanitizer each request is an allocation of its own, so that overruns between them show.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kSeparate = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr bool kSeparate = true;
#else
constexpr bool kSeparate = false;
#endif
#else
constexpr bool kSeparate = false;
#endif
}  // namespace

Arena::~Arena() {
  release_overflow();
  std::free(block_);
}

void Arena::release_overflow() {
  for (void* piece : overflow_) std::free(piece);
  overflow_.clear();
}

void Arena::reset() {
  release_overflow();
  const size_t wanted = used_;
  used_ = placed_ = 0;
  if (kSeparate || wanted <= capacity_ || wanted > kKept) return;
  std::free(block_);
  const size_t capacity = (wanted + wanted / 4 + kAlignment - 1) / kAlignment * kAlignment;
  block_ = static_cast<char*>(std::aligned_alloc(kAlignment, capacity));
  capacity_ = block_ ? capacity : 0;
}

void* Arena::allocate(size_t bytes) {
  if (bytes > limit_) return nullptr;
  const size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  if (used_ + rounded > limit_) return nullptr;
  void* place = nullptr;
  if (placed_ + rounded <= capacity_) {
    place = block_ + placed_;
    placed_ += rounded;
  } else {
    place = std::aligned_alloc(kAlignment, rounded);
    if (!place) return nullptr;
    overflow_.push_back(place);
  }
  used_ += rounded;
  return place;
}

void Arena::release(void* place) {
  if (!kSeparate || !place) return;
  const auto found = std::find(overflow_.rbegin(), overflow_.rend(), place);
  if (found == overflow_.rend()) std::abort();
  std::free(place);
  overflow_.erase(std::next(found).base());
}

}  // namespace beyond

extern "C" {

// Every cinfo of this module carries its arena in client_data from before its creation.
static void* take(j_common_ptr cinfo, size_t bytes) {
  try {
    return static_cast<beyond::Arena*>(cinfo->client_data)->allocate(bytes);
  } catch (...) {
    return nullptr;
  }
}

void* jpeg_get_small(j_common_ptr cinfo, size_t bytes) { return take(cinfo, bytes); }
void* jpeg_get_large(j_common_ptr cinfo, size_t bytes) { return take(cinfo, bytes); }
void jpeg_free_small(j_common_ptr, void*, size_t) {}
void jpeg_free_large(j_common_ptr, void*, size_t) {}

size_t jpeg_mem_available(j_common_ptr cinfo, size_t, size_t most, size_t) {
  const auto* arena = static_cast<beyond::Arena*>(cinfo->client_data);
  const size_t left = arena->limit() - arena->used();
  return most < left ? most : left;
}

void jpeg_open_backing_store(j_common_ptr cinfo, backing_store_ptr, long) {
  cinfo->err->msg_code = 0;
  (*cinfo->err->error_exit)(cinfo);
}

long jpeg_mem_init(j_common_ptr) { return 0; }
void jpeg_mem_term(j_common_ptr) {}

}  // extern "C"
