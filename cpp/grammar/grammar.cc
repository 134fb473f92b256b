#include "grammar/grammar.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"

namespace tramontane {
namespace {

// Of all SPLITs together, so that checking takes a bounded time.
constexpr int64_t kMaxEdges = int64_t{1} << 24;

[[noreturn]] void refuse(size_t node, const std::string& what) {
  throw Error("INVALID_GRAMMAR", "node " + std::to_string(node) + " of the grammar " + what);
}

}  // namespace

Grammar::Grammar(const std::vector<int32_t>& nodes, std::vector<int32_t> edges,
                 const std::vector<int32_t>& most)
    : edges_(std::move(edges)) {
  const size_t count = most.size();
  if (count == 0 || count > kMaxNodes || nodes.size() != 4 * count) {
    throw Error("INVALID_GRAMMAR", "a grammar has from 1 to " + std::to_string(kMaxNodes) +
                                       " nodes of four numbers; this has " +
                                       std::to_string(nodes.size()) + " numbers");
  }
  nodes_.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    const int32_t* row = &nodes[4 * i];
    nodes_.push_back({static_cast<Op>(row[0]), row[1], row[2], row[3], most[i]});
  }
  check_nodes();
  const std::vector<bool> empty = find_empty();
  check_repeats(empty);
  check_recursion(empty);
  find_classes();
}

void Grammar::check_nodes() const {
  const auto inside = [this](int32_t index) {
    return index >= 0 && static_cast<size_t>(index) < nodes_.size();
  };
  int64_t split_edges = 0;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const GrammarNode& node = nodes_[i];
    const int64_t last = int64_t{node.a} + node.b;
    bool fits = false;
    switch (node.op) {
      case Op::kEnd:
        continue;
      case Op::kBytes:
        fits = node.a >= 0 && node.a <= node.b && node.b <= 255;
        break;
      case Op::kSplit:
        fits = node.a >= 0 && node.b >= 0 && last <= static_cast<int64_t>(edges_.size()) &&
               (split_edges += node.b) <= kMaxEdges;
        if (fits && !std::all_of(edges(node), edges(node) + node.b, inside)) {
          refuse(i, "goes on at a node that is not there");
        }
        if (fits) continue;
        break;
      case Op::kCall:
        fits = inside(node.a);
        break;
      case Op::kRepeat:
        fits = inside(node.a) && node.b >= 0 && (node.most == -1 || node.most >= node.b);
        break;
      case Op::kToken:
        fits = node.a >= 0;
        break;
      default:
        refuse(i, "has an unknown operation");
    }
    if (!fits) refuse(i, "has numbers out of range");
    if (!inside(node.next)) refuse(i, "goes on at a node that is not there");
  }
}

// Which nodes reach an END without a byte or token between. What a node's answer rests on is looked
// at again whenever one of these turns out to.
std::vector<bool> Grammar::find_empty() const {
  std::vector<bool> empty(nodes_.size());
  std::vector<std::vector<int32_t>> users(nodes_.size());
  std::vector<int32_t> work;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const GrammarNode& node = nodes_[i];
    const auto index = static_cast<int32_t>(i);
    const auto uses = [&](int32_t other) { users[static_cast<size_t>(other)].push_back(index); };
    if (node.op == Op::kEnd) work.push_back(index);
    if (node.op == Op::kSplit) std::for_each(edges(node), edges(node) + node.b, uses);
    if (node.op == Op::kCall) uses(node.a);
    if (node.op == Op::kCall || node.op == Op::kRepeat) uses(node.next);
  }
  while (!work.empty()) {
    const auto at = static_cast<size_t>(work.back());
    work.pop_back();
    if (empty[at]) continue;
    const GrammarNode& node = nodes_[at];
    const auto is_empty = [&](int32_t other) { return empty[static_cast<size_t>(other)]; };
    const bool now = node.op == Op::kEnd || node.op == Op::kSplit ||
                     (node.op == Op::kCall && is_empty(node.a) && is_empty(node.next)) ||
                     (node.op == Op::kRepeat && node.b == 0 && is_empty(node.next));
    if (!now) continue;
    empty[at] = true;
    work.insert(work.end(), users[at].begin(), users[at].end());
  }
  return empty;
}

void Grammar::check_repeats(const std::vector<bool>& empty) const {
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (nodes_[i].op == Op::kRepeat && empty[static_cast<size_t>(nodes_[i].a)]) {
      refuse(i, "repeats what may be empty");
    }
  }
}

// No way leads from a node through a call back to it without a byte between: the stack would grow
// for ever. By the strongly connected parts of these ways (Tarjan 1972), with a stack of its own.
void Grammar::check_recursion(const std::vector<bool>& empty) const {
  const size_t count = nodes_.size();
  std::vector<int32_t> order(count, -1), low(count), part(count, -1), open;
  struct Visit {
    int32_t node, next_way;
  };
  std::vector<Visit> visits;
  const auto way = [&](const GrammarNode& node, int32_t i) {
    if (node.op == Op::kSplit) return i < node.b ? edges(node)[i] : -1;
    if (node.op != Op::kCall && node.op != Op::kRepeat) return -1;
    if (i == 0) return node.a;
    const bool passes = node.op == Op::kRepeat
                            ? node.b == 0
                            : static_cast<bool>(empty[static_cast<size_t>(node.a)]);
    return i == 1 && passes ? node.next : -1;
  };
  int32_t visited = 0, parts = 0;
  for (size_t root = 0; root < count; ++root) {
    if (order[root] < 0) visits.push_back({static_cast<int32_t>(root), 0});
    while (!visits.empty()) {
      const int32_t index = visits.back().node;
      const auto at = static_cast<size_t>(index);
      if (visits.back().next_way == 0) {
        order[at] = low[at] = visited++;
        open.push_back(index);
      }
      const int32_t to = way(nodes_[at], visits.back().next_way++);
      if (to >= 0) {
        const auto target = static_cast<size_t>(to);
        if (order[target] < 0) {
          visits.push_back({to, 0});
        } else if (part[target] < 0) {
          low[at] = std::min(low[at], order[target]);
        }
        continue;
      }
      visits.pop_back();
      if (!visits.empty()) {
        int32_t& outer = low[static_cast<size_t>(visits.back().node)];
        outer = std::min(outer, low[at]);
      }
      if (low[at] != order[at]) continue;
      for (int32_t member = -1; member != index;) {
        member = open.back();
        open.pop_back();
        part[static_cast<size_t>(member)] = parts;
      }
      ++parts;
    }
  }
  for (size_t i = 0; i < count; ++i) {
    const GrammarNode& node = nodes_[i];
    if (node.op != Op::kCall && node.op != Op::kRepeat) continue;
    if (part[i] == part[static_cast<size_t>(node.a)]) refuse(i, "is left recursive");
  }
}

void Grammar::find_classes() {
  std::array<bool, 257> starts{};
  for (const GrammarNode& node : nodes_) {
    if (node.op != Op::kBytes) continue;
    starts[static_cast<size_t>(node.a)] = starts[static_cast<size_t>(node.b) + 1] = true;
  }
  for (size_t byte = 0; byte < 256; ++byte) {
    if (byte > 0 && starts[byte]) ++classes_;
    class_of_[byte] = static_cast<uint8_t>(classes_);
  }
  ++classes_;
}

}  // namespace tramontane
