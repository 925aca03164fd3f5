// libFuzzer target of the native core: 16 bytes of parameters, then the file. Slot and file are heap blocks of
// exactly their sizes, so that the address sanitizer sees one byte too many.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "cost.h"
#include "image.h"
#include "png_head.h"
#include "webp_head.h"

namespace {

struct Head {
  uint8_t width, height, filter, orientation, flags, ratio, window, spare;
  uint8_t x0, y0, x1, y1;
  uint8_t resized_x, resized_y, left, top;
};

struct Size {
  double width = 256, height = 256;
};

Size jpeg_size(const uint8_t* data, size_t size) {
  for (size_t at = 2; at + 9 < size; at++) {
    if (data[at] == 0xFF && (data[at + 1] & 0xF0) == 0xC0 && data[at + 1] != 0xC4) {
      return {double(data[at + 7] << 8 | data[at + 8]), double(data[at + 5] << 8 | data[at + 6])};
    }
  }
  return {};
}

Size size_of(const uint8_t* data, size_t size) {
  beyond::PngHead png;
  beyond::WebpHead webp;
  if (beyond::read_png_head(data, size, png)) return {double(png.width), double(png.height)};
  if (beyond::is_webp(data, size)) {
    if (beyond::read_webp_head(data, size, webp) || webp.animated) return {};
    return {double(webp.width), double(webp.height)};
  }
  return jpeg_size(data, size);
}

// Boxes follow the file's own dimensions, so that they are often valid.
beyond::Params params_of(const Head& head, const uint8_t* data, size_t size) {
  const auto [width, height] = size_of(data, size);
  beyond::Params p{};
  p.x0 = width * (head.x0 / 255.0), p.x1 = width * (head.x1 / 255.0);
  p.y0 = height * (head.y0 / 255.0), p.y1 = height * (head.y1 / 255.0);
  p.width = head.width % 96 + 1, p.height = head.height % 96 + 1;
  p.filter = static_cast<beyond::Filter>(head.filter % beyond::kFilters);
  p.orientation = head.orientation % 8 + 1;
  p.flags = head.flags & (beyond::kAllFlags ^ beyond::kLibraryEntropy);
  p.min_ratio = head.ratio / 64.0;
  p.left = head.left, p.top = head.top;
  p.resized_width = p.left + p.stored_width() + head.resized_x;
  p.resized_height = p.top + p.stored_height() + head.resized_y;
  // Plans take the columns first only where that leaves fewer rows; otherwise a million columns become a hundred rows.
  if (p.resized_height >= p.y1 - p.y0) p.flags &= ~static_cast<unsigned>(beyond::kVerticalFirst);
  return p;
}

struct Result {
  std::unique_ptr<uint8_t[]> slot;
  beyond::Outcome outcome;
};

Result decode(const uint8_t* data, size_t size, const beyond::Params& params, beyond::Scratch& scratch) {
  Result result;
  result.slot.reset(new uint8_t[params.output_bytes()]());
  beyond::decode_image(data, size, params, result.slot.get(), scratch, result.outcome, nullptr);
  return result;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* input, size_t length) {
  if (length < sizeof(Head)) return 0;
  Head head;
  std::memcpy(&head, input, sizeof head);
  const size_t size = length - sizeof head;
  std::unique_ptr<uint8_t[]> data(new uint8_t[size]);
  std::memcpy(data.get(), input + sizeof head, size);
  const beyond::Params params = params_of(head, data.get(), size);
  // One scratch for all inputs, as a worker has: what one image leaves behind must not hurt the next.
  static beyond::Scratch scratch{{16, size_t{64} << 20, int64_t{1} << 20}};
  const Result ours = decode(data.get(), size, params, scratch);
  if (ours.outcome.status != beyond::Status::kOk && ours.outcome.message[0] == 0) std::abort();
  // The cost is asked of whatever comes.
  if (beyond::predicted_cost(data.get(), size, params) < 0) std::abort();
  // Our entropy decoder must judge and decode as libjpeg's does, our SIMD as the portable code, whatever the bytes.
  beyond::Params library = params;
  library.flags |= beyond::kLibraryEntropy | beyond::kPortable;
  const Result theirs = decode(data.get(), size, library, scratch);
  if (ours.outcome.status != theirs.outcome.status || ours.outcome.warnings != theirs.outcome.warnings) std::abort();
  if (std::strcmp(ours.outcome.message, theirs.outcome.message) != 0) std::abort();
  const bool done = ours.outcome.status == beyond::Status::kOk;
  if (done && std::memcmp(ours.slot.get(), theirs.slot.get(), params.output_bytes()) != 0) std::abort();
  return 0;
}
