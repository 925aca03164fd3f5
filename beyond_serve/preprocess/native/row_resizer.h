// Decoded rows go straight into the horizontal pass and, as soon as enough are there, into the vertical one.
#pragma once

#include <cstddef>
#include <cstdint>

#include "params.h"
#include "resample.h"
#include "scratch.h"
#include "writer.h"

namespace beyond {

// One image's resize, fed with rows in order from the first that any output needs. The axes in `scratch` have
// been computed. No destructor: decoders that fail leave by longjmp.
class RowResizer {
 public:
  // `width`: columns of each decoded row, of which the first is the image's column `left`. False if the reduction
  // needs more rows at once than is allowed. May throw std::bad_alloc; nothing after it does.
  bool begin(const Params& params, const RowWriter& writer, Scratch& scratch, int width, int left);

  // First row not yet resized.
  int next_row() const { return next_row_; }
  // Where the decoder is to write row `y`, RGBX; next_row() <= y < next_row() + kBatchRows.
  uint8_t* place(int y) const { return vertical_first_ ? ring_row(y) : decoded_[y - next_row_]; }
  // The next `count` rows, at most kBatchRows, are in their places.
  void resize(int count);

 private:
  uint8_t* ring_row(int y) const { return ring_ + static_cast<size_t>(y % ring_rows_) * ring_stride_; }
  bool size_buffers();
  void combine_rows(int output, uint8_t* to, int bytes);
  void emit_resized(int output);
  void emit_vertical_first(int output);

  Scratch* scratch_;
  const RowWriter* writer_;
  const Passes* passes_;
  // The ring holds the rows the vertical pass may still need: resized ones (RGB), or decoded ones (RGBX) where
  // the vertical pass comes first.
  bool vertical_first_;
  int width_, left_;
  int ring_rows_;
  size_t ring_stride_;
  uint8_t* ring_;
  uint8_t* decoded_[kBatchRows];
  int next_row_, next_output_;
};

}  // namespace beyond
