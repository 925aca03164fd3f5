// The numbers that describe one decode. Geometry is decided in Python; the core only carries it out.
#pragma once

#include <cstddef>
#include <cstdint>

namespace beyond {

enum class Filter : int { kBilinear = 0, kBicubic = 1 };

enum Flags : unsigned {
  kFancyUpsampling = 1u,  // libjpeg's default chroma interpolation; without it chroma is replicated
  kTolerateCorrupt = 2u,  // libjpeg warnings do not fail the image
  kPlanar = 4u,           // output is CHW instead of HWC
};

struct Params {
  double x0, y0, x1, y1;  // source box in pixels of the stored orientation
  int width, height;      // output as displayed, after the orientation is applied
  Filter filter;
  int orientation;   // EXIF, 1 to 8
  double min_ratio;  // DCT scaling keeps box/output at or above this; 0: never scale
  unsigned flags;

  bool transposed() const { return orientation >= 5; }
  // Output size before the orientation is applied.
  int stored_width() const { return transposed() ? height : width; }
  int stored_height() const { return transposed() ? width : height; }
  size_t output_bytes() const { return static_cast<size_t>(width) * static_cast<size_t>(height) * 3; }
  bool has(Flags flag) const { return (flags & flag) != 0; }
};

enum class Status : int {
  kOk = 0,
  kCorrupt = 1,      // the bytes cannot be decoded, or only with warnings
  kUnsupported = 2,  // valid perhaps, but this core leaves it to the library decoders
  kLimit = 3,        // more scans or memory than allowed
  kInvalid = 4,      // the parameters do not fit this image
  kCancelled = 5,    // the pool was closed before the image's turn
};

constexpr size_t kMessageBytes = 240;

// What one decode did. Times are nanoseconds; start and end are CLOCK_MONOTONIC.
struct Outcome {
  Status status = Status::kOk;
  char message[kMessageBytes] = "";
  int64_t byte_position = -1;  // where in the file the decoder stood when it failed
  int64_t row = -1;            // next row of the (scaled) image when it failed
  int warnings = 0;
  int scale_num = 8;  // DCT scale used, in eighths
  int64_t start_ns = 0, end_ns = 0;
  int64_t decode_ns = 0, resize_ns = 0;

  void fail(Status why, const char* text);
};

int64_t monotonic_ns();

constexpr int kMaxOutputSide = 16384;

}  // namespace beyond
