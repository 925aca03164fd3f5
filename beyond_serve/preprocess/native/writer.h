// Puts finished rows where the orientation and the layout want them.
#pragma once

#include <cstdint>

#include "params.h"

namespace beyond {

class RowWriter {
 public:
  RowWriter(const Params& params, uint8_t* out) : params_(params), out_(out) {}

  // The place row `y` can be written to directly, or nullptr if it must go through put().
  uint8_t* direct(int y) const;
  // `row` is one row of stored_width() RGB pixels in the stored orientation.
  void put(int y, const uint8_t* row) const;

 private:
  const Params& params_;
  uint8_t* out_;
};

}  // namespace beyond
