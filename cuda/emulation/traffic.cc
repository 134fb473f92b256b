#include "emulation/traffic.h"

#include <map>
#include <mutex>
#include <vector>

#include "emulation/scheduler.h"

namespace emulation {

bool counting = false;

namespace {

constexpr size_t kSectorBytes = 32;

struct Sector {
  uint32_t launch, block;  // The last ones that read it.
};
struct Region {
  size_t bytes;
  std::vector<Sector> sectors;
};
struct Counter {
  std::mutex mutex;
  std::map<const char*, Region> regions;  // By their end.
  Traffic traffic{};
  uint32_t launch = 1;
};

Counter& counter() {
  static Counter counter;
  return counter;
}

}  // namespace

void watch_memory(const void* memory, size_t bytes) {
  const std::lock_guard<std::mutex> lock(counter().mutex);
  counter().regions[static_cast<const char*>(memory) + bytes] = {bytes, {}};
}

void forget_memory(const void* memory) {
  const std::lock_guard<std::mutex> lock(counter().mutex);
  const auto found = counter().regions.upper_bound(static_cast<const char*>(memory));
  if (found != counter().regions.end()) counter().regions.erase(found);
}

void start_counting() {
  counter().traffic = {};
  counting = true;
}

void next_launch() {
  const std::lock_guard<std::mutex> lock(counter().mutex);
  counter().launch++;
}

Traffic stop_counting() {
  counting = false;
  for (auto& [end, region] : counter().regions) region.sectors.clear();
  return counter().traffic;
}

void count(const void* address, size_t bytes) {
  Counter& c = counter();
  const char* first = static_cast<const char*>(address);
  const auto found = c.regions.upper_bound(first);
  if (found == c.regions.end()) return;
  Region& region = found->second;
  const char* start = found->first - region.bytes;
  if (first < start) return;
  if (region.sectors.empty()) region.sectors.resize(region.bytes / kSectorBytes + 1);
  c.traffic.requested += bytes;
  const Index3& b = running->block;
  const Index3& grid = running->grid_size;
  const uint32_t block = 1 + b.x + grid.x * (b.y + grid.y * b.z);
  const size_t offset = static_cast<size_t>(first - start);
  for (size_t s = offset / kSectorBytes; s <= (offset + bytes - 1) / kSectorBytes; ++s) {
    Sector& sector = region.sectors[s];
    if (sector.launch != c.launch) {
      c.traffic.per_launch += kSectorBytes;
      c.traffic.per_block += kSectorBytes;
    } else if (sector.block != block) {
      c.traffic.per_block += kSectorBytes;
    }
    sector = {c.launch, block};
  }
}

}  // namespace emulation
