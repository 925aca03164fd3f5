// What a PNG's samples are as RGBX pixels.
#pragma once

#include <array>
#include <cstdint>

namespace beyond {

// Plain data: lives where longjmp passes.
struct PngPixels {
  enum class Kind { kLookup, kGreyAlpha, kRgb, kRgba };
  Kind kind;
  int bytes;                           // of one pixel, samples being one byte each
  std::array<uint8_t[4], 256> lookup;  // of grey and palette images: sample to RGBX

  void set_grey(int bits);
  // `colours` RGB entries; what lies beyond them is black, as Pillow has it.
  void set_palette(const uint8_t* entries, int colours);
};

// `row` may be read one byte past its last pixel.
void to_rgbx(const PngPixels& pixels, const uint8_t* row, int columns, uint8_t* to);

}  // namespace beyond
