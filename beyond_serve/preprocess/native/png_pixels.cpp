#include "png_pixels.h"

#include <cstring>

namespace beyond {

void PngPixels::set_grey(int bits) {
  kind = Kind::kLookup;
  bytes = 1;
  const int white = bits < 8 ? (1 << bits) - 1 : 255;
  for (int i = 0; i < 256; i++) {
    const auto level = static_cast<uint8_t>(i <= white ? i * 255 / white : 255);
    uint8_t* to = lookup[static_cast<size_t>(i)];
    to[0] = to[1] = to[2] = to[3] = level;
  }
}

void PngPixels::set_palette(const uint8_t* entries, int colours) {
  kind = Kind::kLookup;
  bytes = 1;
  std::memset(&lookup, 0, sizeof lookup);
  for (int i = 0; i < colours && i < 256; i++) std::memcpy(lookup[static_cast<size_t>(i)], entries + i * 3, 3);
}

void to_rgbx(const PngPixels& pixels, const uint8_t* row, int columns, uint8_t* to) {
  switch (pixels.kind) {
    case PngPixels::Kind::kLookup:
      for (int x = 0; x < columns; x++) std::memcpy(to + x * 4, pixels.lookup[row[x]], 4);
      break;
    case PngPixels::Kind::kGreyAlpha:
      for (int x = 0; x < columns; x++) std::memset(to + x * 4, row[x * 2], 4);
      break;
    case PngPixels::Kind::kRgb:
      // The fourth byte is the next pixel's first; nobody reads it.
      for (int x = 0; x < columns; x++) std::memcpy(to + x * 4, row + x * 3, 4);
      break;
    case PngPixels::Kind::kRgba:
      std::memcpy(to, row, static_cast<size_t>(columns) * 4);
      break;
  }
}

}  // namespace beyond
