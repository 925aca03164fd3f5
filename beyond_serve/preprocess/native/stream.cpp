#include "stream.h"

#include <algorithm>

#include "region.h"
#include "row_resizer.h"

namespace beyond {
namespace {

// Column of the first decoded pixel, which libjpeg moves to a block boundary.
int crop_columns(jpeg_decompress_struct& cinfo, const Region& region) {
  JDIMENSION left = static_cast<JDIMENSION>(region.left);
  JDIMENSION width = static_cast<JDIMENSION>(region.right - region.left);
  jpeg_crop_scanline(&cinfo, &left, &width);
  return static_cast<int>(left);
}

void read_batch(jpeg_decompress_struct& cinfo, const RowResizer& resizer, int count) {
  uint8_t* rows[kBatchRows];
  for (int r = 0; r < count; r++) rows[r] = resizer.place(resizer.next_row() + r);
  int got = 0;
  while (got < count) {
    got += static_cast<int>(jpeg_read_scanlines(&cinfo, rows + got, static_cast<JDIMENSION>(count - got)));
  }
}

void pump(jpeg_decompress_struct& cinfo, RowResizer& resizer, const Region& region, Outcome& outcome) {
  int64_t before = monotonic_ns();
  outcome.decode_ns = before - outcome.start_ns;
  if (region.top > 0) jpeg_skip_scanlines(&cinfo, static_cast<JDIMENSION>(region.top));
  while (resizer.next_row() < region.bottom) {
    const int count = std::min(kBatchRows, region.bottom - resizer.next_row());
    read_batch(cinfo, resizer, count);
    const int64_t decoded = monotonic_ns();
    resizer.resize(count);
    const int64_t resized = monotonic_ns();
    outcome.decode_ns += decoded - before;
    outcome.resize_ns += resized - decoded;
    before = resized;
  }
}

}  // namespace

const char* stream_rows(jpeg_decompress_struct& cinfo, const Params& params, uint8_t* out, Scratch& scratch,
                        Outcome& outcome, bool own_entropy) {
  const int scale_num = static_cast<int>(cinfo.scale_num);
  jpeg_start_decompress(&cinfo);
  if (own_entropy) scratch.entropy.engage(cinfo);
  const int scaled_width = static_cast<int>(cinfo.output_width);
  scratch.horizontal.compute(horizontal_key(params, scale_num, scaled_width));
  scratch.vertical.compute(vertical_key(params, scale_num, static_cast<int>(cinfo.output_height)));
  const Region region = decode_region(scratch.horizontal, scratch.vertical, scaled_width);

  const RowWriter writer(params, out);
  const int left = crop_columns(cinfo, region);
  RowResizer resizer;
  if (!resizer.begin(params, writer, scratch, static_cast<int>(cinfo.output_width), left)) {
    return "the reduction is too large";
  }
  pump(cinfo, resizer, region, outcome);
  return nullptr;
}

}  // namespace beyond
