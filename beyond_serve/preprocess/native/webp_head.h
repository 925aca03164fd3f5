// A WebP's container: which chunk holds the picture, and its size.
#pragma once

#include <cstddef>
#include <cstdint>

namespace beyond {

struct WebpHead {
  int width = 0, height = 0;
  bool lossless = false, animated = false;
  const uint8_t* frame = nullptr;  // the VP8 or VP8L chunk's content; nullptr where `animated`
  size_t frame_size = 0;           // as far as the file goes
  bool cut = false;                // the file ends within the frame
};

bool is_webp(const uint8_t* data, size_t size);

// nullptr, or what is wrong with it. Chunks behind the picture are not looked at; RFC 9649.
const char* read_webp_head(const uint8_t* data, size_t size, WebpHead& head);

}  // namespace beyond
