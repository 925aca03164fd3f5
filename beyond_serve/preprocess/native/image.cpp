#include "image.h"

#include "jpeg.h"
#include "png_image.h"
#include "png_head.h"
#include "webp.h"
#include "webp_head.h"

namespace beyond {

Format format_of(const uint8_t* data, size_t size) {
  if (is_png(data, size)) return Format::kPng;
  return is_webp(data, size) ? Format::kWebp : Format::kJpeg;
}

const char* name_of(Format format) {
  switch (format) {
    case Format::kPng:
      return "PNG";
    case Format::kWebp:
      return "WebP";
    default:
      return "JPEG";
  }
}

void decode_image(const uint8_t* data, size_t size, const Params& params, uint8_t* out, Scratch& scratch,
                  Outcome& outcome, Interlude* interlude) noexcept {
  const Format format = format_of(data, size);
  switch (format) {
    case Format::kPng:
      decode_png(data, size, params, out, scratch, outcome, interlude);
      break;
    case Format::kWebp:
      decode_webp(data, size, params, out, scratch, outcome, interlude);
      break;
    default:
      decode_jpeg(data, size, params, out, scratch, outcome, interlude);
  }
  outcome.format = name_of(format);
}

}  // namespace beyond
