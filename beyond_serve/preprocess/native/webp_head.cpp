#include "webp_head.h"

#include <algorithm>
#include <cstring>

#include "libwebp.h"

namespace beyond {
namespace {

constexpr size_t kFirstChunk = 12, kChunkHead = 8, kExtendedSize = 10;
constexpr int kMaxChunks = 4096;  // looked at before the picture; bounds a hostile file's time
constexpr uint8_t kAnimation = 0x02;

uint32_t number(const uint8_t* at, int bytes) {
  uint32_t value = 0;
  for (int i = 0; i < bytes; i++) value |= static_cast<uint32_t>(at[i]) << (8 * i);
  return value;
}

bool named(const uint8_t* chunk, const char* name) { return std::memcmp(chunk, name, 4) == 0; }

struct Canvas {
  bool given = false;
  int width = 0, height = 0;
};

const char* read_frame(const uint8_t* chunk, size_t length, size_t available, const Canvas& canvas, WebpHead& head) {
  head.lossless = named(chunk, "VP8L");
  head.frame = chunk + kChunkHead;
  head.frame_size = std::min(length, available);
  head.cut = length > available;
  const bool read = head.lossless ? VP8LGetInfo(head.frame, head.frame_size, &head.width, &head.height, nullptr) != 0
                                  : VP8GetInfo(head.frame, head.frame_size, length, &head.width, &head.height) != 0;
  if (!read) return "no header of a picture";
  const bool same = !canvas.given || (canvas.width == head.width && canvas.height == head.height);
  return same ? nullptr : "the picture is not as large as its canvas";
}

}  // namespace

bool is_webp(const uint8_t* data, size_t size) {
  return size >= kFirstChunk && named(data, "RIFF") && named(data + 8, "WEBP");
}

const char* read_webp_head(const uint8_t* data, size_t size, WebpHead& head) {
  if (!is_webp(data, size)) return "no RIFF container";
  const size_t declared = size_t{8} + number(data + 4, 4);
  Canvas canvas;
  size_t at = kFirstChunk;
  for (int i = 0; i < kMaxChunks && at + kChunkHead <= size; i++) {
    const uint8_t* chunk = data + at;
    const size_t length = number(chunk + 4, 4), available = size - at - kChunkHead;
    if (at + kChunkHead + length > declared) return "a chunk longer than its container";
    if (named(chunk, "VP8 ") || named(chunk, "VP8L")) return read_frame(chunk, length, available, canvas, head);
    if (named(chunk, "VP8X") && std::min(length, available) >= kExtendedSize) {
      canvas = {true, static_cast<int>(number(chunk + 12, 3)) + 1, static_cast<int>(number(chunk + 15, 3)) + 1};
      head.animated = (chunk[8] & kAnimation) != 0;
    }
    if (head.animated || named(chunk, "ANMF")) {
      head.animated = true;
      return nullptr;
    }
    at += kChunkHead + length + (length & 1);
  }
  return "no picture before its end";
}

}  // namespace beyond
