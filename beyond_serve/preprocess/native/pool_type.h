// The Python type _native.Pool.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

namespace beyond {

int add_pool_type(PyObject* module);  // -1 with an exception set

}  // namespace beyond
