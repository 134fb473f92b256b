#include "grammar/automaton.h"

#include <algorithm>
#include <cstdio>

#include "base/error.h"

namespace tramontane {
namespace {

// The characters beyond ASCII, by their first and second bytes.
struct Utf8Form {
  int32_t length, lead_first, lead_last, second_first, second_last;
};
constexpr Utf8Form kUtf8Forms[] = {{2, 0xc2, 0xdf, 0x80, 0xbf}, {3, 0xe0, 0xe0, 0xa0, 0xbf},
                                   {3, 0xe1, 0xec, 0x80, 0xbf}, {3, 0xed, 0xed, 0x80, 0x9f},
                                   {3, 0xee, 0xef, 0x80, 0xbf}, {4, 0xf0, 0xf0, 0x90, 0xbf},
                                   {4, 0xf1, 0xf3, 0x80, 0xbf}, {4, 0xf4, 0xf4, 0x80, 0x8f}};

std::string byte_name(int32_t byte) {
  char name[8];
  const bool shown = byte > ' ' && byte < 0x7f && byte != '"';
  std::snprintf(name, sizeof name, shown ? "\"%c\"" : "0x%02x", static_cast<unsigned>(byte));
  return byte == '"' ? "'\"'" : byte == ' ' ? "\" \"" : name;
}

}  // namespace

Automaton::Automaton(const Grammar& grammar, int32_t bound) : grammar_(grammar), bound_(bound) {
  close();  // Of nothing: kDead.
  add(0, kNoStack);
  start_ = close();
}

Automaton::State Automaton::find_step(State state, uint8_t byte) {
  if (state == kDead) return kDead;
  // All bytes between which no place of this state tells have the same answer.
  int32_t first = 0, last = 255;
  for (size_t i = 0; i < place_count(state); ++i) {
    const Place place = places(state)[i];
    const GrammarNode& node = grammar_.node(place.node);
    if (node.op != Op::kBytes) continue;
    if (node.b < byte) {
      first = std::max(first, node.b + 1);
    } else if (node.a > byte) {
      last = std::min(last, node.a - 1);
    } else {
      first = std::max(first, node.a);
      last = std::min(last, node.b);
      add(node.next, place.stack);
    }
  }
  const State next = close();
  if (saturate(state) != state) return next;
  State*& row = states_[static_cast<size_t>(state)].row;
  if (row == nullptr) {
    row = rows_.take(static_cast<size_t>(grammar_.classes()));
    std::fill_n(row, grammar_.classes(), kUnknown);
    check_size();
  }
  std::fill(row + grammar_.class_of(static_cast<uint8_t>(first)),
            row + grammar_.class_of(static_cast<uint8_t>(last)) + 1, next);
  return next;
}

Automaton::State Automaton::step_token(State state, int32_t token) {
  for (size_t i = 0; i < place_count(state); ++i) {
    const Place place = places(state)[i];
    const GrammarNode& node = grammar_.node(place.node);
    if (node.op == Op::kToken && node.a == token) add(node.next, place.stack);
  }
  return close();
}

Automaton::State Automaton::join(State a, State b) {
  if (a == b || b == kDead) return a;
  if (a == kDead) return b;
  for (const State state : {a, b}) {
    made_.insert(made_.end(), places(state), places(state) + place_count(state));
    made_accepts_ = made_accepts_ || accepts(state);
  }
  return intern();
}

Automaton::State Automaton::saturate(State state) {
  const StateInfo& info = states_[static_cast<size_t>(state)];
  if (info.saturated != kUnknown) return info.saturated;
  for (size_t i = 0; i < place_count(state); ++i) {
    Place place = places(state)[i];
    if (place.stack != kNoStack) place.stack = frames_[static_cast<size_t>(place.stack)].saturated;
    made_.push_back(place);
  }
  made_accepts_ = info.accepts;
  const State saturated = intern();
  states_[static_cast<size_t>(saturated)].saturated = saturated;
  return states_[static_cast<size_t>(state)].saturated = saturated;
}

Automaton::State Automaton::after_plain(State state) {
  if (states_[static_cast<size_t>(state)].after_plain == kUnasked) {
    const State found = find_after_plain(state);
    states_[static_cast<size_t>(state)].after_plain = found;
  }
  return states_[static_cast<size_t>(state)].after_plain;
}

Automaton::State Automaton::find_after_plain(State state) {
  const State after = after_all(state, ' ', '!');
  if (after == kNoState || after != after_all(state, '#', '[')) return kNoState;
  if (after != after_all(state, ']', 0x7f)) return kNoState;
  for (const Utf8Form& form : kUtf8Forms) {
    // Bytes of one class lead to one state, so there are few to look at.
    for (int32_t lead = form.lead_first, known = -1; lead <= form.lead_last; ++lead) {
      const int32_t lead_class = grammar_.class_of(static_cast<uint8_t>(lead));
      if (lead_class == known) continue;
      known = lead_class;
      State inside = step(state, static_cast<uint8_t>(lead));
      inside = after_all(inside, form.second_first, form.second_last);
      for (int32_t i = 2; i < form.length && inside != kNoState; ++i) {
        inside = after_all(inside, 0x80, 0xbf);
      }
      if (inside != after) return kNoState;
    }
  }
  return after;
}

// The one state that all these bytes lead to.
Automaton::State Automaton::after_all(State state, int32_t first, int32_t last) {
  const State after = step(state, static_cast<uint8_t>(first));
  int32_t known = grammar_.class_of(static_cast<uint8_t>(first));
  for (int32_t byte = first + 1; byte <= last; ++byte) {
    const int32_t byte_class = grammar_.class_of(static_cast<uint8_t>(byte));
    if (byte_class == known) continue;
    known = byte_class;
    if (step(state, static_cast<uint8_t>(byte)) != after) return kNoState;
  }
  return after;
}

std::string Automaton::next_bytes(State state) const {
  constexpr size_t kMost = 8;
  std::vector<std::pair<int32_t, int32_t>> ranges;
  for (size_t i = 0; i < place_count(state); ++i) {
    const GrammarNode& node = grammar_.node(places(state)[i].node);
    if (node.op == Op::kBytes) ranges.emplace_back(node.a, node.b);
  }
  std::sort(ranges.begin(), ranges.end());
  ranges.erase(std::unique(ranges.begin(), ranges.end()), ranges.end());
  std::string list;
  for (size_t i = 0; i < std::min(kMost, ranges.size()); ++i) {
    if (i > 0) list += ", ";
    list += byte_name(ranges[i].first);
    if (ranges[i].second > ranges[i].first) list += " to " + byte_name(ranges[i].second);
  }
  if (ranges.size() > kMost) list += " and others";
  return list.empty() ? "nothing" : list;
}

size_t Automaton::bytes() const {
  return frames_.capacity() * sizeof(Frame) + frame_numbers_.bytes() +
         states_.capacity() * sizeof(StateInfo) + places_.bytes() + state_numbers_.bytes() +
         rows_.bytes();
}

void Automaton::check_size() const {
  if (bytes() > kMaxBytes) throw AutomatonFull{};
}

int32_t Automaton::push(Frame frame) {
  uint64_t hash = mix_hash(0, static_cast<uint32_t>(frame.node));
  for (const int32_t part : {frame.least, frame.most, frame.parent}) {
    hash = mix_hash(hash, static_cast<uint32_t>(part));
  }
  const int32_t known = frame_numbers_.find(hash, [&](int32_t number) {
    const Frame& other = frames_[static_cast<size_t>(number)];
    return other.node == frame.node && other.least == frame.least && other.most == frame.most &&
           other.parent == frame.parent;
  });
  if (known >= 0) return known;

  Frame saturated = frame;
  saturated.least = std::min(frame.least, bound_);
  if (frame.least >= 0 && frame.most > bound_) saturated.most = kNoLimit;
  if (frame.parent != kNoStack) {
    saturated.parent = frames_[static_cast<size_t>(frame.parent)].saturated;
  }
  const bool is_saturated = saturated.least == frame.least && saturated.most == frame.most &&
                            saturated.parent == frame.parent;
  if (!is_saturated) frame.saturated = push(saturated);  // Which is saturated: no deeper.
  const auto number = static_cast<int32_t>(frames_.size());
  if (is_saturated) frame.saturated = number;
  frames_.push_back(frame);
  frame_numbers_.add(hash, number);
  check_size();
  return number;
}

// A call that goes on at `next`.
int32_t Automaton::push_call(int32_t next, int32_t parent) {
  if (grammar_.node(next).op == Op::kEnd) return parent;
  Frame frame;
  frame.node = next;
  frame.parent = parent;
  return push(frame);
}

// At a REPEAT that must and may be made so often still.
void Automaton::enter_repeat(int32_t index, int32_t least, int32_t most, int32_t parent) {
  const GrammarNode& node = grammar_.node(index);
  if (least == 0) add(node.next, parent);
  if (most == 0) return;
  if (most == 1) return add(node.a, push_call(node.next, parent));
  Frame frame;
  frame.node = index;
  frame.least = std::max(least - 1, 0);
  frame.most = most == kNoLimit ? kNoLimit : most - 1;
  frame.parent = parent;
  add(node.a, push(frame));
}

// At an END.
void Automaton::leave(int32_t stack) {
  if (stack == kNoStack) {
    made_accepts_ = true;
    return;
  }
  const Frame frame = frames_[static_cast<size_t>(stack)];
  if (frame.least < 0) return add(frame.node, frame.parent);
  enter_repeat(frame.node, frame.least, frame.most, frame.parent);
}

void Automaton::add(int32_t node, int32_t stack) { work_.push_back({node, stack}); }

// The state of all places that those added lead to without a byte.
Automaton::State Automaton::close() {
  visited_.clear();
  made_.clear();
  made_accepts_ = false;
  while (!work_.empty()) {
    const Place place = work_.back();
    work_.pop_back();
    if (!visited_.add(place)) continue;
    const GrammarNode& node = grammar_.node(place.node);
    const size_t ways = node.op == Op::kSplit ? static_cast<size_t>(node.b) : 1;
    if (visited_.size() + work_.size() + ways > kMaxVisited) {
      throw Error("INVALID_GRAMMAR", "the grammar is too ambiguous: more than " +
                                         std::to_string(kMaxVisited) +
                                         " steps without a character");
    }
    switch (node.op) {
      case Op::kBytes:
      case Op::kToken:
        made_.push_back(place);
        break;
      case Op::kSplit:
        for (int32_t i = 0; i < node.b; ++i) add(grammar_.edges(node)[i], place.stack);
        break;
      case Op::kCall:
        add(node.a, push_call(node.next, place.stack));
        break;
      case Op::kRepeat:
        enter_repeat(place.node, node.b, node.most, place.stack);
        break;
      case Op::kEnd:
        leave(place.stack);
        break;
    }
  }
  return intern();
}

// Of several counts of one REPEAT at one node, those that others contain say nothing.
void Automaton::drop_contained() {
  const auto top = [this](Place place) -> const Frame* {
    if (place.stack == kNoStack) return nullptr;
    const Frame& frame = frames_[static_cast<size_t>(place.stack)];
    return frame.least < 0 ? nullptr : &frame;
  };
  const auto contains = [](const Frame& a, const Frame& b) {
    return a.node == b.node && a.parent == b.parent && a.least <= b.least &&
           (a.most == kNoLimit || (b.most != kNoLimit && a.most >= b.most));
  };
  size_t kept = 0;
  for (size_t first = 0, end = 0; first < made_.size(); first = end) {
    while (end < made_.size() && made_[end].node == made_[first].node) ++end;
    const size_t group = kept;
    for (size_t i = first; i < end; ++i) {
      const Place place = made_[i];
      const Frame* frame = top(place);
      bool keep = true;
      if (frame != nullptr && end - first > 1) {
        size_t rest = group;
        for (size_t other = group; other < kept; ++other) {
          const Frame* kept_frame = top(made_[other]);
          if (keep && kept_frame != nullptr && contains(*kept_frame, *frame)) keep = false;
          const bool goes = keep && kept_frame != nullptr && contains(*frame, *kept_frame);
          if (!goes) made_[rest++] = made_[other];
        }
        kept = rest;
      }
      if (keep) made_[kept++] = place;
    }
  }
  made_.resize(kept);
}

Automaton::State Automaton::intern() {
  std::sort(made_.begin(), made_.end());
  made_.erase(std::unique(made_.begin(), made_.end()), made_.end());
  if (made_.size() <= 4 * kMaxPlaces) drop_contained();
  const size_t count = made_.size();
  if (count > kMaxPlaces) {
    throw Error("INVALID_GRAMMAR", "the grammar is too ambiguous: a text can be in more than " +
                                       std::to_string(kMaxPlaces) + " places of it");
  }
  uint64_t hash = made_accepts_ ? 1 : 2;
  for (const Place place : made_) hash = mix_hash(hash, hash_of(place));
  State state = state_numbers_.find(hash, [&](int32_t number) {
    const StateInfo& info = states_[static_cast<size_t>(number)];
    return info.accepts == made_accepts_ && info.count == count &&
           std::equal(made_.begin(), made_.end(), places(number));
  });
  if (state < 0) {
    state = static_cast<State>(states_.size());
    StateInfo info;
    Place* const kept = places_.take(count);
    std::copy(made_.begin(), made_.end(), kept);
    info.places = kept;
    info.count = static_cast<uint32_t>(count);
    info.accepts = made_accepts_;
    states_.push_back(info);
    state_numbers_.add(hash, state);
  }
  made_.clear();
  made_accepts_ = false;
  check_size();
  return state;
}

}  // namespace tramontane
