// What an image will cost, guessed before it is decoded.
#pragma once

#include <cstddef>
#include <cstdint>

#include "params.h"

namespace beyond {

// Nanoseconds, from header and size alone; right within a factor of two or so, which is what ordering needs.
int64_t predicted_cost(const uint8_t* data, size_t size, const Params& params);

}  // namespace beyond
