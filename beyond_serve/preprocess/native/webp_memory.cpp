#include "webp_memory.h"

#include <cstring>
#include <new>

namespace beyond {
namespace {
thread_local Arena* current = nullptr;
}  // namespace

WebpMemory::WebpMemory(Arena& arena) : before_(current) { current = &arena; }
WebpMemory::~WebpMemory() { current = before_; }

}  // namespace beyond

extern "C" {

void* beyond_webp_malloc(size_t bytes) {
  try {
    return beyond::current ? beyond::current->allocate(bytes) : nullptr;
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

// libwebp has checked the product.
void* beyond_webp_calloc(size_t count, size_t bytes) {
  void* place = beyond_webp_malloc(count * bytes);
  return place ? std::memset(place, 0, count * bytes) : nullptr;
}

void beyond_webp_free(void* place) {
  if (beyond::current) beyond::current->release(place);
}

}  // extern "C"
