// The numbers that describe one decode. Geometry is decided in Python; the core only carries it out.
#pragma once

#include <cstddef>
#include <cstdint>

namespace beyond {

enum class Filter : int { kBilinear = 0, kBicubic = 1, kBox = 2, kHamming = 3, kLanczos = 4 };
constexpr int kFilters = 5;

enum Flags : unsigned {
  kFancyUpsampling = 1u,  // libjpeg's default chroma interpolation; without it chroma is replicated
  kTolerateCorrupt = 2u,  // damage does not fail the image
  kPlanar = 4u,           // output is CHW instead of HWC
  kVerticalFirst = 8u,    // order of the two passes; it shows in the rounding between them
  kLibraryEntropy = 16u,  // entropy decoding by libjpeg alone, to compare with
  kPortable = 32u,        // resize with the portable code, to compare with
  kAllFlags = 63u,
};

// `box` of the stored image is resized to resized_width x resized_height, of which the window that starts at
// (left, top) is wanted and made; after that the orientation is applied.
struct Params {
  double x0, y0, x1, y1;
  int resized_width, resized_height;
  int left, top;
  int width, height;  // of the output as displayed; the window has them swapped where `transposed()`
  Filter filter;
  int orientation;   // EXIF, 1 to 8
  double min_ratio;  // DCT scaling keeps box / resized at or above this; 0: never scale
  unsigned flags;

  bool transposed() const { return orientation >= 5; }
  // The window's size, in the stored orientation.
  int stored_width() const { return transposed() ? height : width; }
  int stored_height() const { return transposed() ? width : height; }
  size_t output_bytes() const { return static_cast<size_t>(width) * static_cast<size_t>(height) * 3; }
  bool has(Flags flag) const { return (flags & flag) != 0; }
};

enum class Status : int {
  kOk = 0,
  kCorrupt = 1,      // the bytes cannot be decoded, or only with warnings
  kUnsupported = 2,  // valid perhaps, but this core leaves it to the library decoders
  kLimit = 3,        // more pixels or memory than allowed
  kInvalid = 4,      // the parameters do not fit this image
  kCancelled = 5,    // the pool was closed before the image's turn
  kTruncated = 6,    // the file ends before the picture does
};

constexpr size_t kMessageBytes = 240;

// What one decode did. Times are nanoseconds; start and end are CLOCK_MONOTONIC.
struct Outcome {
  Status status = Status::kOk;
  char message[kMessageBytes] = "";
  int64_t byte_position = -1;  // where in the file the decoder stood when it failed
  int64_t row = -1;            // next row of the (scaled) image when it failed
  int warnings = 0;
  const char* format = "JPEG";  // a literal
  int scale_num = 8;  // DCT scale used, in eighths
  int64_t start_ns = 0, end_ns = 0;
  int64_t decode_ns = 0, resize_ns = 0;
  int64_t paused_ns = 0;  // spent on shorter images that were let through meanwhile

  void fail(Status why, const char* text);
};

int64_t monotonic_ns();

constexpr int kMaxOutputSide = 16384;

}  // namespace beyond
