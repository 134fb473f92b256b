// The machine's limits: int8 operations without memory, and reads without arithmetic. What speeds
// are compared with.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tramontane {

// Keeps the compiler from leaving out what made `value`.
void keep(uint64_t value);

// Reads memory once with wide loads and software prefetch; returns something of it.
uint64_t read_all(const uint8_t* data, size_t bytes);

// Operations (two a multiply-add) per second of the better of the register-only loops of the
// instruction set, over about 20 ms. 0 where there is no such loop.
double int8_peak();

}  // namespace tramontane
