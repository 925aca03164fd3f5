#include "frame.h"

#include <cstring>

namespace beyond {
namespace {

bool is_frame_marker(int marker) {
  return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}

bool has_no_length(int marker) { return marker == 0x01 || (marker >= 0xD0 && marker <= 0xD7); }

int two_bytes(const uint8_t* at) { return at[0] << 8 | at[1]; }

}  // namespace

bool read_frame(const uint8_t* data, size_t size, Frame& frame) {
  if (size < 4 || data[0] != 0xFF || data[1] != 0xD8) return false;
  size_t at = 2;
  while (at + 4 <= size) {
    if (data[at] != 0xFF || data[at + 1] == 0xFF) {  // garbage and fill bytes, which libjpeg skips too
      at++;
      continue;
    }
    const int marker = data[at + 1];
    if (marker == 0 || has_no_length(marker)) {
      at += 2;
      continue;
    }
    if (marker == 0xD9 || marker == 0xDA) return false;
    if (is_frame_marker(marker)) {
      if (at + 10 > size) return false;
      const uint8_t* body = data + at + 4;
      frame = {marker, body[0], two_bytes(body + 3), two_bytes(body + 1), body[5]};
      return true;
    }
    at += 2 + static_cast<size_t>(two_bytes(data + at + 2));
  }
  return false;
}

int count_scans(const uint8_t* data, size_t size) {
  int scans = 0;
  const uint8_t* const end = data + size;
  const uint8_t* at = data;
  while (at + 1 < end && (at = static_cast<const uint8_t*>(std::memchr(at, 0xFF, static_cast<size_t>(end - at - 1))))) {
    scans += at[1] == 0xDA;
    at++;
  }
  return scans;
}

}  // namespace beyond
