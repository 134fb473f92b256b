// The instructions of ptx.h on the emulator. Compiled with TRAMONTANE_EMULATE_TURING the kernels
// take the path of sm_75.
#pragma once

#include "emulation/tensor.h"
#include "emulation/traffic.h"

namespace tramontane::cuda {

#if defined(TRAMONTANE_EMULATE_TURING)
constexpr bool kHasAmpere = false;
#else
constexpr bool kHasAmpere = true;
#endif

using emulation::float_to_half;
using emulation::half_to_float;
using emulation::launch;

template <class T>
T& shared() {
  static const char tag = 0;
  return *static_cast<T*>(emulation::shared_memory(&tag, sizeof(T), 16));
}

template <class T>
T read(const T* address) {
  emulation::count_read(address, sizeof(T));
  return *address;
}

template <class T>
T fetch(const T* address) {
  return read(address);
}

inline void mma_m16n8k32_s8(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                            EMULATION_SITE) {
  emulation::multiply_add(d, a, b, emulation::multiply_s8_m16k32, site);
}
inline void mma_m16n8k16_s8(int (&d)[4], uint32_t a0, uint32_t a1, uint32_t b, EMULATION_SITE) {
  const uint32_t a[2] = {a0, a1}, bs[1] = {b};
  emulation::multiply_add(d, a, bs, emulation::multiply_s8_m16k16, site);
}
inline void mma_m8n8k16_s8(int (&d)[2], uint32_t a, uint32_t b, EMULATION_SITE) {
  const uint32_t as[1] = {a}, bs[1] = {b};
  emulation::multiply_add(d, as, bs, emulation::multiply_s8_m8k16, site);
}
inline void mma_m16n8k16_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                             EMULATION_SITE) {
  emulation::multiply_add(d, a, b, emulation::multiply_f16_m16k16, site);
}
inline void mma_m16n8k8_f16(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t b, EMULATION_SITE) {
  const uint32_t a[2] = {a0, a1}, bs[1] = {b};
  emulation::multiply_add(d, a, bs, emulation::multiply_f16_m16k8, site);
}

inline void ldmatrix_x4(uint32_t (&to)[4], const void* row, EMULATION_SITE) {
  emulation::load_matrix<4, false>(to, row, site);
}
inline void ldmatrix_x4_transposed(uint32_t (&to)[4], const void* row, EMULATION_SITE) {
  emulation::load_matrix<4, true>(to, row, site);
}

inline void cp_async16(void* to, const void* from, bool valid, EMULATION_SITE) {
  if (valid) emulation::count_read(from, 16);
  emulation::copy_async(to, from, 16, valid, site);
}
inline void cp_async8(void* to, const void* from, bool valid, EMULATION_SITE) {
  if (valid) emulation::count_read(from, 8);
  emulation::copy_async(to, from, 8, valid, site);
}
inline void cp_async_commit() { emulation::commit_copies(); }
template <int kNewest>
void cp_async_wait() {
  emulation::wait_copies(kNewest);
}

}  // namespace tramontane::cuda
