// What may follow in a text of a grammar, made as texts come: a state is all the places in the
// grammar that the text so far can be at.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "grammar/arena.h"
#include "grammar/grammar.h"
#include "grammar/numbering.h"
#include "grammar/place_set.h"

namespace tramontane {

// The tables have outgrown their limit. Who sees it starts again with an empty automaton, or gives
// up with an error.
struct AutomatonFull {};

// Not synchronised.
//
// A place is a node and a stack of calls under way. Stacks share their lower frames; equal stacks
// are one, equal states are one, and what a byte makes of a state is found once. The frame of a
// REPEAT counts: how many more must and may follow the one under way. A call that is the last of
// its caller leaves no frame.
//
// Large counts would make a state of each character. saturate() gives the state in which counts
// beyond `bound` are `bound`, or no limit: from both, the same texts of fewer than `bound` bytes
// lead to states that are alive. Only such states have rows of transitions.
class Automaton {
 public:
  using State = int32_t;
  static constexpr State kDead = 0;
  static constexpr State kNoState = -1;
  static constexpr int32_t kNoLimit = -1;

  static constexpr size_t kMaxPlaces = 1024;
  static constexpr size_t kMaxVisited = 32768;
  static constexpr size_t kMaxBytes = size_t{64} << 20;

  // `grammar` outlives it. All that make states throw AutomatonFull, or Error INVALID_GRAMMAR where
  // a text is in more than kMaxPlaces places; what threw is of no further use.
  Automaton(const Grammar& grammar, int32_t bound);

  State start() const { return start_; }
  // What the state becomes by a byte.
  State step(State state, uint8_t byte) {
    const State* const row = states_[static_cast<size_t>(state)].row;
    if (row != nullptr && row[grammar_.class_of(byte)] >= 0) return row[grammar_.class_of(byte)];
    return find_step(state, byte);
  }
  // By a token of its own; kDead where the grammar has none here.
  State step_token(State state, int32_t token);
  // The tokens for which step_token() leads somewhere.
  template <typename Take>
  void for_tokens(State state, const Take& take) const {
    for (size_t i = 0; i < place_count(state); ++i) {
      const GrammarNode& node = grammar_.node(places(state)[i].node);
      if (node.op == Op::kToken) take(node.a);
    }
  }
  // Where either of two states leads.
  State join(State a, State b);
  State saturate(State state);

  bool accepts(State state) const { return states_[static_cast<size_t>(state)].accepts; }
  // Accepts, and nothing can follow.
  bool finished(State state) const { return accepts(state) && place_count(state) == 0; }
  // The one state that every plain character leads to: each but `"`, `\` and U+0000 to U+001F.
  // kDead where none may follow, kNoState where they lead to several.
  State after_plain(State state);
  // The bytes that may follow, for messages: `"`, or `"0" to "9", "-"`.
  std::string next_bytes(State state) const;

  size_t bytes() const;

 private:
  static constexpr int32_t kNoStack = -1, kUnknown = -1, kUnasked = -2;

  struct Frame {
    int32_t node;  // Where a call goes on; or the REPEAT.
    int32_t least = -1,
            most = 0;  // Of a REPEAT: how many more after the one under way. A call: -1.
    int32_t parent = kNoStack;
    int32_t saturated = kNoStack;
  };
  struct StateInfo {
    const Place* places;  // [count]
    uint32_t count;
    State saturated = kUnknown;
    State after_plain = kUnasked;
    State* row = nullptr;  // [classes]: what each class of bytes makes of it, kUnknown before.
    bool accepts = false;
  };

  const Place* places(State state) const { return states_[static_cast<size_t>(state)].places; }
  size_t place_count(State state) const { return states_[static_cast<size_t>(state)].count; }

  State find_step(State state, uint8_t byte);
  State find_after_plain(State state);
  State after_all(State state, int32_t first, int32_t last);
  int32_t push(Frame frame);
  int32_t push_call(int32_t next, int32_t parent);
  void enter_repeat(int32_t node, int32_t least, int32_t most, int32_t parent);
  void leave(int32_t stack);
  void add(int32_t node, int32_t stack);
  State close();
  void drop_contained();
  State intern();
  void check_size() const;

  const Grammar& grammar_;
  const int32_t bound_;
  State start_ = kDead;

  std::vector<Frame> frames_;
  Numbering frame_numbers_;
  std::vector<StateInfo> states_;
  Arena<Place> places_;
  Numbering state_numbers_;
  Arena<State> rows_;

  // Of the state being made: what is still to be followed, what was, and what came of it.
  std::vector<Place> work_, made_;
  PlaceSet visited_;
  bool made_accepts_ = false;
};

}  // namespace tramontane
