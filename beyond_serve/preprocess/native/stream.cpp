#include "stream.h"

#include <algorithm>
#include <cstring>

#include "resample.h"
#include "writer.h"

namespace beyond {
namespace {

// A resize that needs more rows at once than this is left to others.
constexpr size_t kLargestRing = size_t{64} << 20;

// The ring holds the rows the vertical pass may still need: resized ones (RGB), or decoded ones (RGBX) where
// the vertical pass comes first.
struct Stream {
  jpeg_decompress_struct* cinfo;
  Scratch* scratch;
  const RowWriter* writer;
  const Passes* passes;
  bool vertical_first;
  int left;  // image column of the first decoded pixel
  int ring_rows;
  size_t ring_stride;
  uint8_t* ring;
  int next_output;
  uint8_t* decoded[kBatchRows];

  uint8_t* ring_row(int y) const {
    return ring + static_cast<size_t>(y % ring_rows) * ring_stride;
  }
};

// Column of the first decoded pixel, which libjpeg moves to a block boundary.
int crop_columns(jpeg_decompress_struct& cinfo, const Region& region) {
  JDIMENSION left = static_cast<JDIMENSION>(region.left);
  JDIMENSION width = static_cast<JDIMENSION>(region.right - region.left);
  jpeg_crop_scanline(&cinfo, &left, &width);
  return static_cast<int>(left);
}

template <typename T>
void at_least(std::vector<T>& buffer, size_t size) {
  if (buffer.size() < size) buffer.resize(size);
}

// libjpeg-turbo's SIMD writes to rows that are aligned to its vectors past the cache, where the resize would have
// to fetch them from memory. Rows that begin off that alignment stay in the cache.
constexpr size_t kVector = 32, kOff = 8;

size_t row_stride(size_t bytes) { return (bytes + kVector - 1) / kVector * kVector; }

// The buffer's first address off alignment; with strides of row_stride, that of every row.
uint8_t* off_alignment(std::vector<uint8_t>& buffer, size_t bytes) {
  at_least(buffer, bytes + kVector);
  const auto address = reinterpret_cast<uintptr_t>(buffer.data());
  return buffer.data() + (kVector + kOff - address % kVector) % kVector;
}

// False if the ring would be too large.
bool size_buffers(Stream& stream) {
  Scratch& scratch = *stream.scratch;
  const size_t decoded_bytes = row_stride(static_cast<size_t>(stream.cinfo->output_width) * 4 + kDecodedSlack);
  const size_t resized_bytes = row_stride(static_cast<size_t>(scratch.horizontal.out_size()) * 3 + kRowSlack);
  stream.ring_rows = scratch.vertical.longest() + kBatchRows;
  stream.ring_stride = stream.vertical_first ? decoded_bytes : resized_bytes;
  const size_t ring_bytes = stream.ring_stride * static_cast<size_t>(stream.ring_rows);
  if (ring_bytes > kLargestRing) return false;
  stream.ring = off_alignment(scratch.ring, ring_bytes);
  uint8_t* const decoded = off_alignment(scratch.decoded, decoded_bytes * kBatchRows);
  at_least(scratch.line, resized_bytes);
  at_least(scratch.columns, static_cast<size_t>(scratch.vertical.stride()));
  for (int r = 0; r < kBatchRows; r++) {
    stream.decoded[r] = decoded + decoded_bytes * static_cast<size_t>(r);
  }
  return true;
}

void read_batch(Stream& stream, int y, int count) {
  if (stream.vertical_first) {
    for (int r = 0; r < count; r++) stream.decoded[r] = stream.ring_row(y + r);
  }
  int got = 0;
  while (got < count) {
    got += static_cast<int>(
        jpeg_read_scanlines(stream.cinfo, stream.decoded + got, static_cast<JDIMENSION>(count - got)));
  }
}

void combine_rows(Stream& stream, int y, uint8_t* to, int bytes) {
  Scratch& scratch = *stream.scratch;
  const Axis& axis = scratch.vertical;
  for (int t = 0; t < axis.count(y); t++) {
    scratch.columns[static_cast<size_t>(t)] = stream.ring_row(axis.first(y) + t);
  }
  stream.passes->vertical(scratch.columns.data(), axis, y, to, bytes);
}

void emit_resized(Stream& stream, int y) {
  uint8_t* direct = stream.writer->direct(y);
  uint8_t* to = direct ? direct : stream.scratch->line.data();
  combine_rows(stream, y, to, stream.scratch->horizontal.out_size() * 3);
  if (!direct) stream.writer->put(y, to);
}

void emit_vertical_first(Stream& stream, int y) {
  Scratch& scratch = *stream.scratch;
  // Rows are decoded into the ring here, so the batch's own buffer is free.
  uint8_t* combined = scratch.decoded.data();
  uint8_t* line = scratch.line.data();
  combine_rows(stream, y, combined, static_cast<int>(stream.cinfo->output_width) * 4);
  stream.passes->horizontal(&combined, &line, 1, scratch.horizontal, stream.left);
  stream.writer->put(y, line);
}

// Rows [y, y + count) of the image have been decoded.
void resize_batch(Stream& stream, int y, int count) {
  Scratch& scratch = *stream.scratch;
  if (!stream.vertical_first) {
    uint8_t* to[kBatchRows];
    for (int r = 0; r < count; r++) to[r] = stream.ring_row(y + r);
    stream.passes->horizontal(stream.decoded, to, count, scratch.horizontal, stream.left);
  }
  const Axis& axis = scratch.vertical;
  for (; stream.next_output < axis.out_size() && axis.last(stream.next_output) <= y + count; stream.next_output++) {
    if (stream.vertical_first) {
      emit_vertical_first(stream, stream.next_output);
    } else {
      emit_resized(stream, stream.next_output);
    }
  }
}

void pump(Stream& stream, const Region& region, Outcome& outcome) {
  int64_t before = monotonic_ns();
  outcome.decode_ns = before - outcome.start_ns;
  if (region.top > 0) jpeg_skip_scanlines(stream.cinfo, static_cast<JDIMENSION>(region.top));
  for (int y = region.top; y < region.bottom; y += kBatchRows) {
    const int count = std::min(kBatchRows, region.bottom - y);
    read_batch(stream, y, count);
    const int64_t decoded = monotonic_ns();
    resize_batch(stream, y, count);
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
  Stream stream;
  stream.cinfo = &cinfo;
  stream.scratch = &scratch;
  stream.writer = &writer;
  stream.passes = params.has(kPortable) ? &generic_passes() : &passes();
  stream.vertical_first = params.has(kVerticalFirst);
  stream.next_output = 0;
  stream.left = crop_columns(cinfo, region);
  if (!size_buffers(stream)) return "the reduction is too large";
  pump(stream, region, outcome);
  return nullptr;
}

}  // namespace beyond
