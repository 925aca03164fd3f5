// A PNG's header, read without libpng: enough to refuse early and to predict a cost.
#pragma once

#include <cstddef>
#include <cstdint>

namespace beyond {

struct PngHead {
  uint32_t width = 0, height = 0;
  int bits = 0, colour = 0;
  bool interlaced = false, animated = false;
};

bool is_png(const uint8_t* data, size_t size);

// False if the header chunk is not there, or holds no size.
bool read_png_head(const uint8_t* data, size_t size, PngHead& head);

}  // namespace beyond
