// Lossless WebP. Its back references reach over the whole picture, so libwebp keeps the coded pixels of all rows;
// what is finished is a few rows at a time.
#include <algorithm>
#include <cstring>

#include "libwebp.h"
#include "webp.h"

namespace beyond {
namespace {

struct Decoder {
  VP8LDecoder* dec = VP8LNew();
  ~Decoder() { VP8LDelete(dec); }
};

struct Job {
  VP8Io io;
  WebPDecParams params;
  WebPDecoderOptions options;
  WebPDecBuffer output;  // a band of at most kBatchRows rows, written anew by each step
};

// End of the band that begins with `row`: bands end at multiples of their height, so that libwebp, which finishes
// rows at multiples of twice that and at the end of what it was asked for, never has more than one to hand over.
int band_end(int row, const Region& region) {
  return std::min((row / kBatchRows + 1) * kBatchRows, region.bottom);
}

void set_output(Job& job, const Region& region, uint8_t* band) {
  const int columns = region.right - region.left;
  job.output.colorspace = MODE_RGBA;
  job.output.width = columns;
  job.output.height = kBatchRows;
  job.output.is_external_memory = 1;
  job.output.u.RGBA.rgba = band;
  job.output.u.RGBA.stride = columns * 4;
  job.output.u.RGBA.size = static_cast<size_t>(columns) * 4 * kBatchRows;
  job.options.use_cropping = 1;
  job.options.crop_left = region.left;
  job.options.crop_top = region.top;
  job.options.crop_width = columns;
  job.options.crop_height = band_end(region.top, region) - region.top;
  job.params.output = &job.output;
  job.params.options = &job.options;
  job.io.opaque = &job.params;
}

WebpStop stop_of(const VP8LDecoder& dec, const WebpHead& head) {
  // Without bits left libwebp says the same as of wrong ones.
  const size_t position = dec.br.eos ? head.frame_size : dec.br.pos;
  return webp_stop(dec.status, head, position, "its lossless data is damaged");
}

bool set_data(VP8Io& io, const WebpHead& head) {
  if (!VP8InitIo(&io)) return false;
  io.data = head.frame;
  io.data_size = head.frame_size;
  return true;
}

void hand_over(RowFeed& feed, const uint8_t* band, int count) {
  const size_t row_bytes = static_cast<size_t>(feed.region().right - feed.region().left) * 4;
  for (int r = 0; r < count; r++) {
    std::memcpy(feed.place(feed.next_row() + r), band + row_bytes * static_cast<size_t>(r), row_bytes);
  }
  feed.resize(count);
}

}  // namespace

WebpStop feed_lossless(const WebpHead& head, const RowWriter& writer, RowFeed& feed) {
  const Region& region = feed.region();
  const int columns = region.right - region.left;
  if (!feed.begin(writer, columns, region.left)) return {};
  Decoder decoder;
  VP8LDecoder* dec = decoder.dec;
  auto* band = static_cast<uint8_t*>(feed.scratch().arena.allocate(static_cast<size_t>(columns) * 4 * kBatchRows));
  if (!dec || !band) return webp_stop(VP8_STATUS_OUT_OF_MEMORY, head, 0, "");
  Job job{};
  if (!set_data(job.io, head)) return {Status::kUnsupported, "another libwebp", 0};
  set_output(job, region, band);
  if (!VP8LDecodeHeader(dec, &job.io)) return stop_of(*dec, head);
  while (!feed.done()) {
    const int end = band_end(feed.next_row(), region);
    job.io.crop_bottom = end;  // the first time it is set from the options
    if (!VP8LDecodeImage(dec)) return stop_of(*dec, head);
    if (dec->last_out_row != end - feed.next_row()) return {Status::kCorrupt, "rows are missing", dec->br.pos};
    dec->last_out_row = 0;
    hand_over(feed, band, end - feed.next_row());
  }
  return {};
}

}  // namespace beyond
