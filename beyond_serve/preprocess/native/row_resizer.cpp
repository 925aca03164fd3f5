#include "row_resizer.h"

#include <algorithm>

namespace beyond {
namespace {

// A resize that needs more rows at once than this is left to others.
constexpr size_t kLargestRing = size_t{64} << 20;

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

}  // namespace

bool RowResizer::begin(const Params& params, const RowWriter& writer, Scratch& scratch, int width, int left) {
  scratch_ = &scratch;
  writer_ = &writer;
  passes_ = params.has(kPortable) ? &generic_passes() : &passes();
  vertical_first_ = params.has(kVerticalFirst);
  width_ = width;
  left_ = left;
  next_row_ = scratch.vertical.begin();
  next_output_ = 0;
  return size_buffers();
}

bool RowResizer::size_buffers() {
  const size_t decoded_bytes = row_stride(static_cast<size_t>(width_) * 4 + kDecodedSlack);
  const size_t resized_bytes = row_stride(static_cast<size_t>(scratch_->horizontal.out_size()) * 3 + kRowSlack);
  ring_rows_ = scratch_->vertical.longest() + kBatchRows;
  ring_stride_ = vertical_first_ ? decoded_bytes : resized_bytes;
  const size_t ring_bytes = ring_stride_ * static_cast<size_t>(ring_rows_);
  if (ring_bytes > kLargestRing || decoded_bytes * kBatchRows > kLargestRing) return false;
  ring_ = off_alignment(scratch_->ring, ring_bytes);
  uint8_t* const decoded = off_alignment(scratch_->decoded, decoded_bytes * kBatchRows);
  at_least(scratch_->line, resized_bytes);
  at_least(scratch_->columns, static_cast<size_t>(scratch_->vertical.stride()));
  for (int r = 0; r < kBatchRows; r++) decoded_[r] = decoded + decoded_bytes * static_cast<size_t>(r);
  return true;
}

void RowResizer::combine_rows(int output, uint8_t* to, int bytes) {
  const Axis& axis = scratch_->vertical;
  for (int t = 0; t < axis.count(output); t++) {
    scratch_->columns[static_cast<size_t>(t)] = ring_row(axis.first(output) + t);
  }
  passes_->vertical(scratch_->columns.data(), axis, output, to, bytes);
}

void RowResizer::emit_resized(int output) {
  uint8_t* direct = writer_->direct(output);
  uint8_t* to = direct ? direct : scratch_->line.data();
  combine_rows(output, to, scratch_->horizontal.out_size() * 3);
  if (!direct) writer_->put(output, to);
}

void RowResizer::emit_vertical_first(int output) {
  // Rows are decoded into the ring here, so the batch's own buffer is free.
  uint8_t* combined = scratch_->decoded.data();
  uint8_t* line = scratch_->line.data();
  combine_rows(output, combined, width_ * 4);
  passes_->horizontal(&combined, &line, 1, scratch_->horizontal, left_);
  writer_->put(output, line);
}

void RowResizer::resize(int count) {
  if (!vertical_first_) {
    uint8_t* to[kBatchRows];
    for (int r = 0; r < count; r++) to[r] = ring_row(next_row_ + r);
    passes_->horizontal(decoded_, to, count, scratch_->horizontal, left_);
  }
  next_row_ += count;
  const Axis& axis = scratch_->vertical;
  for (; next_output_ < axis.out_size() && axis.last(next_output_) <= next_row_; next_output_++) {
    if (vertical_first_) {
      emit_vertical_first(next_output_);
    } else {
      emit_resized(next_output_);
    }
  }
}

}  // namespace beyond
