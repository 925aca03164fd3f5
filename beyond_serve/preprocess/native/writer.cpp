#include "writer.h"

#include <cstddef>

namespace beyond {
namespace {

// EXIF orientations as: swap the axes, then mirror columns, then mirror rows of the displayed image.
struct Turn {
  bool swap, mirror_x, mirror_y;
};

constexpr Turn kTurns[9] = {{false, false, false}, {false, false, false}, {false, true, false},
                            {false, true, true},   {false, false, true},  {true, false, false},
                            {true, true, false},   {true, true, true},    {true, false, true}};

}  // namespace

uint8_t* RowWriter::direct(int y) const {
  if (params_.has(kPlanar)) return nullptr;
  const ptrdiff_t row_bytes = static_cast<ptrdiff_t>(params_.width) * 3;
  if (params_.orientation == 1) return out_ + y * row_bytes;
  if (params_.orientation == 4) return out_ + (params_.height - 1 - y) * row_bytes;
  return nullptr;
}

void RowWriter::put(int y, const uint8_t* row) const {
  const Turn turn = kTurns[params_.orientation];
  const ptrdiff_t width = params_.width, height = params_.height;
  const ptrdiff_t pixel = params_.has(kPlanar) ? 1 : 3;
  const ptrdiff_t channel = params_.has(kPlanar) ? width * height : 1;
  const ptrdiff_t column_step = turn.swap ? width : 1;  // in displayed pixels, along the stored row
  const bool mirror_along = turn.swap ? turn.mirror_y : turn.mirror_x;
  const bool mirror_across = turn.swap ? turn.mirror_x : turn.mirror_y;
  const ptrdiff_t length = turn.swap ? height : width;
  const ptrdiff_t across = mirror_across ? (turn.swap ? width : height) - 1 - y : y;
  uint8_t* to = out_ + across * (turn.swap ? 1 : width) * pixel;
  ptrdiff_t step = column_step * pixel;
  if (mirror_along) {
    to += (length - 1) * step;
    step = -step;
  }
  for (ptrdiff_t i = 0; i < length; i++, to += step, row += 3) {
    to[0] = row[0];
    to[channel] = row[1];
    to[2 * channel] = row[2];
  }
}

}  // namespace beyond
