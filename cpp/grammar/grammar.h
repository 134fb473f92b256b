// The tables of a grammar: a recursive transition network over bytes, as lib/grammar/network.ts
// writes it down. Checked once, never changed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace tramontane {

enum class Op : int32_t { kEnd, kBytes, kSplit, kCall, kRepeat, kToken };

struct GrammarNode {
  Op op;
  int32_t a, b, next;
  int32_t most;  // Of a REPEAT; -1: no limit.
};

class Grammar {
 public:
  static constexpr size_t kMaxNodes = size_t{1} << 20;

  // `nodes`: [n][4], `most`: [n]. Throws Error INVALID_GRAMMAR for tables that matching could not
  // rely on: indexes out of range, a REPEAT whose body may be empty, left recursion.
  Grammar(const std::vector<int32_t>& nodes, std::vector<int32_t> edges,
          const std::vector<int32_t>& most);

  const GrammarNode& node(int32_t index) const { return nodes_[static_cast<size_t>(index)]; }
  // The nodes that a SPLIT goes on at.
  const int32_t* edges(const GrammarNode& split) const { return edges_.data() + split.a; }

  // Bytes between which no BYTES node tells are of one class; classes are numbered by their bytes.
  int32_t classes() const { return classes_; }
  int32_t class_of(uint8_t byte) const { return class_of_[byte]; }

 private:
  void check_nodes() const;
  std::vector<bool> find_empty() const;
  void check_repeats(const std::vector<bool>& empty) const;
  void check_recursion(const std::vector<bool>& empty) const;
  void find_classes();

  std::vector<GrammarNode> nodes_;
  std::vector<int32_t> edges_;
  std::array<uint8_t, 256> class_of_{};
  int32_t classes_ = 0;
};

}  // namespace tramontane
