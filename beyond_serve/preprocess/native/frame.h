// The JPEG frame header, read without libjpeg: enough to refuse early and to predict a cost.
#pragma once

#include <cstddef>
#include <cstdint>

namespace beyond {

struct Frame {
  int marker = 0;  // 0xC0 to 0xCF, the SOF found
  int precision = 0, width = 0, height = 0, components = 0;

  bool progressive() const { return marker == 0xC2 || marker == 0xCA; }
  // 8-bit baseline, extended or progressive, Huffman or arithmetic; grey or three components.
  bool supported() const {
    const bool coded = marker == 0xC0 || marker == 0xC1 || marker == 0xC2 || marker == 0xC9 || marker == 0xCA;
    return coded && precision == 8 && (components == 1 || components == 3);
  }
};

// False if there is no start of image or no frame header before the first scan.
bool read_frame(const uint8_t* data, size_t size, Frame& frame);

// Scans that the file seems to have, those of embedded thumbnails included.
int count_scans(const uint8_t* data, size_t size);

}  // namespace beyond
