// Our own entropy decoding of sequential Huffman JPEGs in one scan, put in place of libjpeg's: wide tables,
// and coefficients that nobody needs (outside the region, or beyond DC at scale 1/8) only counted.
//
// It knows good data only. At anything else, from an illegal code to a misplaced marker, it gives up through
// error_exit with kEntropyGaveUp, and the image is decoded again by libjpeg alone, whose judgement counts.
#pragma once

#include <cstddef>

#include "huffman.h"
#include "libjpeg.h"

namespace beyond {

constexpr int kEntropyGaveUp = -1;  // not one of libjpeg's message codes

struct BitStream {
  uint64_t buffer = 0;  // the next bits, left-aligned
  int count = 0;        // how many of them are valid
  int padding = 0;      // how many of those are zeros appended after the data's end
  const uint8_t* next = nullptr;
  const uint8_t* end = nullptr;
  const uint8_t* safe = nullptr;  // as far as libjpeg, too, reads ahead without running out of data
};

// Lives in Scratch: tables are used again while files bring the same ones.
struct EntropyDecoder {
  jpeg_entropy_decoder face;  // first: libjpeg's pointer to it is cast back

  struct Block {
    const DcTable* dc;
    const AcTable* ac;
    int component;
    bool dc_only;
  };
  BitStream bits;
  Block blocks[D_MAX_BLOCKS_IN_MCU];
  int last_dc[MAX_COMPS_IN_SCAN];
  unsigned restarts_left;
  int next_restart;
  JDIMENSION column;  // of the next MCU
  DcTable dc_tables[NUM_HUFF_TBLS];
  AcTable ac_tables[NUM_HUFF_TBLS];

  // Takes over from cinfo, which jpeg_start_decompress has started. False if this is no case for it.
  bool engage(jpeg_decompress_struct& cinfo);
};

}  // namespace beyond
