#include "region.h"

#include <algorithm>
#include <cmath>

namespace beyond {
namespace {
constexpr int kChromaMargin = 2;
// Below a few samples of chroma libjpeg switches to another upsampler; never crop that narrow.
constexpr int kNarrowest = 32;
}  // namespace

bool valid_box(const Params& p, int image_width, int image_height) {
  const bool finite = std::isfinite(p.x0) && std::isfinite(p.y0) && std::isfinite(p.x1) && std::isfinite(p.y1);
  return finite && p.x0 >= 0 && p.y0 >= 0 && p.x1 > p.x0 && p.y1 > p.y0 && p.x1 <= image_width &&
         p.y1 <= image_height;
}

int choose_scale(const Params& p) {
  if (!(p.min_ratio > 0)) return 8;
  const double ratio_x = (p.x1 - p.x0) / p.resized_width;
  const double ratio_y = (p.y1 - p.y0) / p.resized_height;
  const double ratio = std::min(ratio_x, ratio_y);
  for (int eighths : {1, 2, 4}) {
    if (ratio * eighths / 8 >= p.min_ratio) return eighths;
  }
  return 8;
}

AxisKey horizontal_key(const Params& p, int scale_num, int scaled_width) {
  const double scale = scale_num / 8.0;
  return {scaled_width, p.x0 * scale, p.x1 * scale, p.resized_width, p.left, p.stored_width(), p.filter};
}

AxisKey vertical_key(const Params& p, int scale_num, int scaled_height) {
  const double scale = scale_num / 8.0;
  return {scaled_height, p.y0 * scale, p.y1 * scale, p.resized_height, p.top, p.stored_height(), p.filter};
}

Region decode_region(const Axis& horizontal, const Axis& vertical, int scaled_width) {
  Region region;
  region.left = std::max(horizontal.begin() - kChromaMargin, 0);
  region.right = std::min(std::max(horizontal.end() + kChromaMargin, region.left + kNarrowest), scaled_width);
  region.left = std::max(std::min(region.left, region.right - kNarrowest), 0);
  region.top = vertical.begin();
  region.bottom = vertical.end();
  return region;
}

}  // namespace beyond
