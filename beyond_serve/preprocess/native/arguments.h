// Python arguments to the core's types.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "params.h"

namespace beyond {

// From the tuple of `Params`' fields, in their order. False with a Python
// exception set when it is malformed or out of range.
bool parse_params(PyObject* tuple, Params& params);

// A contiguous view of the encoded bytes. False with an exception set.
bool view_data(PyObject* object, Py_buffer& view);

// A writable C-contiguous view of exactly the output's size in bytes. False with an exception set.
bool view_slot(PyObject* object, const Params& params, Py_buffer& view);

// (status, message or None, byte, row, warnings, scale_num, start_ns, end_ns, decode_ns, resize_ns,
// paused_ns, format)
PyObject* outcome_tuple(const Outcome& outcome);

}  // namespace beyond
