// A long decode lets shorter ones through: libjpeg's progress hook offers the thread between rows.
#pragma once

#include <cstdint>

namespace beyond {

class Interlude {
 public:
  virtual ~Interlude() = default;
  // Runs what should go first, if anything; returns the nanoseconds it took. Must not throw.
  virtual int64_t play() noexcept = 0;
};

}  // namespace beyond
