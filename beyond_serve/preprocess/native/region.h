// Which part of the image to decode, at which DCT scale, for one set of parameters.
#pragma once

#include "coefficients.h"
#include "params.h"

namespace beyond {

// Half-open pixel ranges in the scaled image.
struct Region {
  int left, right, top, bottom;
};

bool valid_box(const Params& params, int image_width, int image_height);

// Largest reduction, in eighths (8, 4, 2 or 1), that keeps box / output at or above min_ratio on both axes.
// Only these have SIMD inverse transforms in libjpeg-turbo.
int choose_scale(const Params& params);

AxisKey horizontal_key(const Params& params, int scale_num, int scaled_width);
AxisKey vertical_key(const Params& params, int scale_num, int scaled_height);

// Columns to ask of jpeg_crop_scanline so that those in [begin, end) equal the uncropped decode: libjpeg
// takes the crop's edges for the image's when it interpolates chroma.
Region decode_region(const Axis& horizontal, const Axis& vertical, int scaled_width);

}  // namespace beyond
