#include "base/free_memory.h"

#include <fstream>
#include <limits>

#if defined(_WIN32)
#include <windows.h>
#elif defined(__APPLE__)
#include <mach/mach.h>
#include <sys/sysctl.h>
#else
#include <sys/sysinfo.h>
#endif

namespace tramontane {
namespace {

constexpr uint64_t kNone = std::numeric_limits<uint64_t>::max();

// kNone for `max`, for a file that is not there, and for what version 1 writes when nothing is set.
uint64_t read_number(const std::string& path) {
  uint64_t value = 0;
  return std::ifstream(path) >> value ? value : kNone;
}

// Cached files, which the kernel drops before it runs out of memory. Version 1 has the sums over
// the groups within under names of their own: those that `memory.usage_in_bytes` counts.
uint64_t cached_file_bytes(const std::string& path) {
  std::ifstream file(path);
  std::string name;
  uint64_t value = 0, own = 0, total = 0;
  while (file >> name >> value) {
    if (name == "active_file" || name == "inactive_file") own += value;
    if (name == "total_active_file" || name == "total_inactive_file") total += value;
  }
  return total > 0 ? total : own;
}

uint64_t difference(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

#if defined(_WIN32)

FreeMemory machine_memory() {
  MEMORYSTATUSEX status{};
  status.dwLength = sizeof status;
  if (!GlobalMemoryStatusEx(&status)) return {kNone, kNone, "the machine"};
  return {status.ullAvailPhys, status.ullTotalPhys, "the machine"};
}

#elif defined(__APPLE__)

FreeMemory machine_memory() {
  uint64_t total = kNone;
  size_t size = sizeof total;
  sysctlbyname("hw.memsize", &total, &size, nullptr, 0);
  vm_statistics64_data_t pages{};
  mach_msg_type_number_t count = HOST_VM_INFO64_COUNT;
  if (host_statistics64(mach_host_self(), HOST_VM_INFO64, reinterpret_cast<host_info64_t>(&pages),
                        &count) != KERN_SUCCESS) {
    return {kNone, total, "the machine"};
  }
  const uint64_t free = uint64_t{pages.free_count} + pages.inactive_count + pages.purgeable_count;
  return {free * vm_kernel_page_size, total, "the machine"};
}

#else

FreeMemory machine_memory() {
  struct sysinfo info {};
  sysinfo(&info);
  const uint64_t total = uint64_t{info.totalram} * info.mem_unit;
  std::ifstream file("/proc/meminfo");
  std::string name, unit;
  uint64_t kilobytes = 0;
  while (file >> name >> kilobytes && std::getline(file, unit)) {
    if (name == "MemAvailable:") return {kilobytes * 1024, total, "the machine"};
  }
  return {(uint64_t{info.freeram} + info.bufferram) * info.mem_unit, total, "the machine"};
}

#endif

}  // namespace

FreeMemory free_memory(const std::vector<MemoryGroup>& groups) {
  FreeMemory least = machine_memory();
  for (const MemoryGroup& group : groups) {
    const uint64_t usage = read_number(group.usage);
    if (usage == kNone) continue;
    const uint64_t used = difference(usage, cached_file_bytes(group.stat));
    for (const std::string& path : group.limits) {
      const uint64_t limit = read_number(path);
      if (limit == kNone || difference(limit, used) >= least.bytes) continue;
      least = {difference(limit, used), limit, path};
    }
  }
  return least;
}

}  // namespace tramontane
