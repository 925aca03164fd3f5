#include "row_feed.h"

#include <algorithm>
#include <cstring>

namespace beyond {

void RowFeed::open(const Params& params, Scratch& scratch, Outcome& outcome, Interlude* interlude) {
  params_ = &params;
  scratch_ = &scratch;
  outcome_ = &outcome;
  interlude_ = interlude;
  begun_ = false;
  outcome = Outcome{};
  outcome.start_ns = monotonic_ns();
  scratch.arena.reset();
}

bool RowFeed::choose_region(int64_t width, int64_t height) {
  constexpr int kFullScale = 8;
  if (width * height > scratch_->limits.max_pixels) {
    outcome_->fail(Status::kLimit, "more pixels than allowed");
    return false;
  }
  const int columns = static_cast<int>(width), rows = static_cast<int>(height);
  if (!valid_box(*params_, columns, rows)) {
    outcome_->fail(Status::kInvalid, "the source box does not lie in the image");
    return false;
  }
  scratch_->horizontal.compute(horizontal_key(*params_, kFullScale, columns));
  scratch_->vertical.compute(vertical_key(*params_, kFullScale, rows));
  region_ = {scratch_->horizontal.begin(), scratch_->horizontal.end(), scratch_->vertical.begin(),
             scratch_->vertical.end()};
  return true;
}

bool RowFeed::begin(const RowWriter& writer, int width, int left) {
  width_ = width;
  begun_ = resizer_.begin(*params_, writer, *scratch_, width, left);
  if (!begun_) outcome_->fail(Status::kUnsupported, "the reduction is too large");
  return begun_;
}

int RowFeed::batch() const { return std::clamp(region_.bottom - resizer_.next_row(), 0, kBatchRows); }

void RowFeed::resize(int count) {
  const int64_t decoded = monotonic_ns();
  resizer_.resize(count);
  outcome_->resize_ns += monotonic_ns() - decoded;
  pause();
}

void RowFeed::pause() {
  if (interlude_) outcome_->paused_ns += interlude_->play();
}

void RowFeed::damaged(Status why, const char* text, int64_t byte_position) {
  const bool damage = why == Status::kCorrupt || why == Status::kTruncated;
  if (!damage || !begun_ || !params_->has(kTolerateCorrupt)) {
    outcome_->byte_position = byte_position;
    outcome_->row = next_row();
    outcome_->fail(why, text);
    return;
  }
  outcome_->warnings++;
  while (!done()) {
    const int count = batch();
    for (int r = 0; r < count; r++) std::memset(place(next_row() + r), 0, static_cast<size_t>(width_) * 4);
    resize(count);
  }
}

void RowFeed::close() {
  outcome_->end_ns = monotonic_ns();
  outcome_->decode_ns = outcome_->end_ns - outcome_->start_ns - outcome_->resize_ns - outcome_->paused_ns;
}

}  // namespace beyond
