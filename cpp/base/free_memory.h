// How much memory this process may still take: of the machine, and of the control groups (cgroups)
// it is in, as containers and services are.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tramontane {

// The files in which Linux accounts for a control group. lib/model/process-limits.ts finds them.
struct MemoryGroup {
  std::vector<std::string> limits;  // Each holds a number of bytes, or `max`; the lowest counts.
  std::string usage;                // Holds the bytes that the group uses, cached files included.
  std::string stat;                 // Lines of names and numbers.
};

struct FreeMemory {
  uint64_t bytes;     // That can be taken; files the system keeps in memory make room.
  uint64_t limit;     // Of all, taken or not.
  std::string where;  // What has the limit, for messages: "the machine", a file.
};

// Of the machine and the groups, the one that has the least. Reads a few small files: tens of
// microseconds.
FreeMemory free_memory(const std::vector<MemoryGroup>& groups);

}  // namespace tramontane
