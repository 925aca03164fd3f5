// What every decoder of rows other than libjpeg shares: which rows, into which resize, by which clock, and when
// shorter images go first.
#pragma once

#include "interlude.h"
#include "params.h"
#include "region.h"
#include "row_resizer.h"

namespace beyond {

// No destructor: decoders that fail leave by longjmp.
class RowFeed {
 public:
  // Begins the clock; `interlude` may be null.
  void open(const Params& params, Scratch& scratch, Outcome& outcome, Interlude* interlude);

  // The region of an image of this size, its axes computed into the scratch; false, and the outcome failed, where
  // it has more pixels than allowed or the box does not lie in it.
  bool choose_region(int64_t width, int64_t height);
  const Region& region() const { return region_; }

  // Readies the resize for rows of `width` columns from column `left`; false, and the outcome failed, where the
  // reduction is left to others. May throw std::bad_alloc.
  bool begin(const RowWriter& writer, int width, int left);
  bool begun() const { return begun_; }
  int next_row() const { return begun_ ? resizer_.next_row() : -1; }
  // Rows that the region still needs, at most kBatchRows.
  int batch() const;
  bool done() const { return batch() == 0; }
  uint8_t* place(int y) const { return resizer_.place(y); }
  // `count` rows are in their places.
  void resize(int count);

  // Between rows: shorter images may go first.
  void pause();

  // A damaged image is an error, or where damage is tolerated its missing rows are black and it has a warning.
  void damaged(Status why, const char* text, int64_t byte_position);
  // Ends the clock.
  void close();

  const Params& params() const { return *params_; }
  Scratch& scratch() const { return *scratch_; }
  Outcome& outcome() const { return *outcome_; }

 private:
  const Params* params_;
  Scratch* scratch_;
  Outcome* outcome_;
  Interlude* interlude_;
  Region region_;
  int width_;
  bool begun_;
  RowResizer resizer_;
};

}  // namespace beyond
