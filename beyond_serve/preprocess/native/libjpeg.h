// libjpeg-turbo with the interfaces between its own modules, which the entropy decoder steps into. They are
// those of the version that setup.py pins.
#pragma once

#include <cstddef>
#include <cstdio>

extern "C" {
#define JPEG_INTERNALS
#include <jpeglib.h>

#include <jerror.h>
}
