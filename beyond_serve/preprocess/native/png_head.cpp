#include "png_head.h"

#include <cstring>

namespace beyond {
namespace {

constexpr uint8_t kSignature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
constexpr size_t kHeaderEnd = 33;  // signature, and IHDR with its checksum
constexpr int kMaxChunks = 4096;   // looked at before the pixels; bounds a hostile file's time
constexpr uint32_t kMaxSide = 0x7fffffff;

uint32_t number(const uint8_t* at) {
  return static_cast<uint32_t>(at[0]) << 24 | static_cast<uint32_t>(at[1]) << 16 | static_cast<uint32_t>(at[2]) << 8 |
         at[3];
}

// Whether an animation is announced before the pixels, where it has to be.
bool announces_animation(const uint8_t* data, size_t size) {
  size_t at = kHeaderEnd;
  for (int i = 0; i < kMaxChunks && at + 8 <= size; i++) {
    if (std::memcmp(data + at + 4, "acTL", 4) == 0) return true;
    if (std::memcmp(data + at + 4, "IDAT", 4) == 0) return false;
    at += size_t{12} + number(data + at);
  }
  return false;
}

}  // namespace

bool is_png(const uint8_t* data, size_t size) {
  return size >= sizeof kSignature && std::memcmp(data, kSignature, sizeof kSignature) == 0;
}

bool read_png_head(const uint8_t* data, size_t size, PngHead& head) {
  if (size < kHeaderEnd || !is_png(data, size)) return false;
  if (number(data + 8) != 13 || std::memcmp(data + 12, "IHDR", 4) != 0) return false;
  head.width = number(data + 16);
  head.height = number(data + 20);
  head.bits = data[24];
  head.colour = data[25];
  head.interlaced = data[28] != 0;
  head.animated = announces_animation(data, size);
  return head.width > 0 && head.height > 0 && head.width <= kMaxSide && head.height <= kMaxSide;
}

}  // namespace beyond
