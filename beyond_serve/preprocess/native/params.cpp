#include "params.h"

#include <cstdio>
#include <ctime>

namespace beyond {

void Outcome::fail(Status why, const char* text) {
  status = why;
  std::snprintf(message, sizeof message, "%s", text);
}

int64_t monotonic_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<int64_t>(now.tv_sec) * 1000000000 + now.tv_nsec;
}

}  // namespace beyond
