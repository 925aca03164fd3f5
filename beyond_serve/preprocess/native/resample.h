// The two passes of the resize, chosen once for the machine's instruction set.
#pragma once

#include <cstdint>

#include "coefficients.h"

namespace beyond {

// Every source row may be read this many bytes past its last pixel.
constexpr int kRowSlack = 64;

struct Passes {
  const char* name;
  // RGBX rows to RGB rows. `left` is the image column of the rows' first pixel. Writes up to
  // 3 * out_size + 1 bytes to each row of `to`.
  void (*horizontal)(const uint8_t* const* from, uint8_t* const* to, int rows, const Axis& axis, int left);
  // Output row `y` of the axis; `rows[t]` holds the row of its tap t and may be read 32 bytes past its last.
  // Writes exactly `bytes` bytes.
  void (*vertical)(const uint8_t* const* rows, const Axis& axis, int y, uint8_t* to, int bytes);
};

const Passes& passes();          // the best this machine can run
const Passes& generic_passes();  // portable, the reference for the others
const Passes* avx2_passes();     // nullptr where it cannot run

}  // namespace beyond
