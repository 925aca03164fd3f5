#include "cost.h"

#include <algorithm>

#include "frame.h"
#include "image.h"
#include "png_head.h"
#include "webp_head.h"

namespace beyond {
namespace {

int64_t clamped(double pixels) { return pixels > 0 && pixels < 1e10 ? static_cast<int64_t>(pixels) : 0; }

// Bytes cost entropy decoding, pixels the rest.
int64_t jpeg_cost(const uint8_t* data, size_t size, const Params& params) {
  constexpr int64_t kPerByte = 9, kPerPixel = 1, kProgressive = 2;
  Frame frame;
  if (!read_frame(data, size, frame)) return 0;  // fails at once
  const int64_t pixels = clamped((params.x1 - params.x0) * (params.y1 - params.y0));
  const int64_t bytes = static_cast<int64_t>(size) * kPerByte;
  return (bytes + pixels * kPerPixel) * (frame.progressive() ? kProgressive : 1);
}

// Whole rows down to the box's last are decoded, whatever its columns.
int64_t rows_cost(int64_t width, int64_t height, size_t size, const Params& params, int64_t per_pixel,
                  int64_t per_byte) {
  const double part = std::clamp(params.y1 / static_cast<double>(height), 0.0, 1.0);
  const double whole = static_cast<double>(width) * static_cast<double>(height) * static_cast<double>(per_pixel) +
                       static_cast<double>(size) * static_cast<double>(per_byte);
  return clamped(whole * part);
}

}  // namespace

// All figures measured on one core of a 2023 server.
int64_t predicted_cost(const uint8_t* data, size_t size, const Params& params) {
  PngHead png;
  WebpHead webp;
  switch (format_of(data, size)) {
    case Format::kPng:
      return read_png_head(data, size, png) ? rows_cost(png.width, png.height, size, params, 3, 3) : 0;
    case Format::kWebp:
      if (read_webp_head(data, size, webp) || webp.animated) return 0;
      return rows_cost(webp.width, webp.height, size, params, webp.lossless ? 5 : 8, 8);
    default:
      return jpeg_cost(data, size, params);
  }
}

}  // namespace beyond
