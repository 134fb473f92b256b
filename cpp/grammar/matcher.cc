#include "grammar/matcher.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace tramontane {

Matcher::Matcher(const std::shared_ptr<SharedGrammar>& grammar,
                 std::shared_ptr<const Vocabulary> vocabulary, MatcherOptions options)
    : vocabulary_(std::move(vocabulary)),
      table_(grammar->masks(vocabulary_)),
      options_(std::move(options)),
      positions_{{-1, Automaton::kDead, options_.dummy_space}} {
  for (const int32_t token : options_.end_tokens) {
    if (token >= 0 && token < vocabulary_->size()) continue;
    throw Error("INVALID_OPTION",
                "end token " + std::to_string(token) + " is not in the vocabulary");
  }
}

// Does work() with the table locked and this matcher's states in it. Where the table has no room,
// it starts again with an empty one, once.
template <typename Work>
auto Matcher::with_table(const Work& work) {
  const std::lock_guard lock(table_->mutex);
  for (bool again = false;; again = true) {
    try {
      catch_up();
      return work();
    } catch (const AutomatonFull&) {
      table_->reset();
      if (again) {
        throw Error("INVALID_GRAMMAR", "the grammar needs more than 64 MB: it is too ambiguous");
      }
    } catch (...) {
      table_->reset();
      throw;
    }
  }
}

// Finds the states again that a reset of the table took away.
void Matcher::catch_up() {
  if (round_ == table_->round()) return;
  std::vector<Position> old = std::move(positions_);
  try {
    positions_ = {{-1, table_->automaton().start(), options_.dummy_space}};
    positions_.reserve(old.size());
    for (size_t i = 1; i < old.size(); ++i) advance(old[i].token);
  } catch (...) {
    positions_ = std::move(old);
    throw;
  }
  round_ = table_->round();
}

bool Matcher::is_end(int32_t token) const {
  const std::vector<int32_t>& ends = options_.end_tokens;
  return std::find(ends.begin(), ends.end(), token) != ends.end();
}

bool Matcher::advance(int32_t token) {
  Automaton& automaton = table_->automaton();
  const Position from = positions_.back();
  if (is_end(token) && automaton.accepts(from.state)) {
    positions_.push_back({token, from.state, false});
    return true;
  }
  const Automaton::State by_id = automaton.step_token(from.state, token);
  Automaton::State by_text = Automaton::kDead;
  if (vocabulary_->has_text(token)) {
    const uint8_t* at = vocabulary_->begin(token);
    const uint8_t* const end = vocabulary_->end(token);
    by_text = from.state;
    if (from.dummy_space && *at == ' ') ++at;
    while (at < end && by_text != Automaton::kDead) by_text = automaton.step(by_text, *at++);
  }
  const Automaton::State state = automaton.join(by_id, by_text);
  if (state == Automaton::kDead) return false;
  const bool starts = options_.dummy_space && by_text == Automaton::kDead;
  positions_.push_back({token, state, starts});
  return true;
}

Mask Matcher::mask() {
  return with_table([&] {
    const Position& at = positions_.back();
    Mask mask = table_->mask(at.state, at.dummy_space);
    if (options_.end_tokens.empty() || !table_->automaton().accepts(at.state)) return mask;
    auto with_ends = std::make_shared<std::vector<uint32_t>>(*mask);
    for (const int32_t token : options_.end_tokens) {
      (*with_ends)[static_cast<size_t>(token) / 32] |= uint32_t{1} << (token % 32);
    }
    return Mask(std::move(with_ends));
  });
}

bool Matcher::accept(int32_t token) {
  if (token < 0 || token >= vocabulary_->size()) return false;
  return with_table([&] { return advance(token); });
}

void Matcher::rollback(int32_t tokens) {
  const auto most = static_cast<int32_t>(positions_.size()) - 1;
  positions_.resize(positions_.size() - static_cast<size_t>(std::clamp(tokens, 0, most)));
}

bool Matcher::accepting() {
  return with_table([&] { return table_->automaton().accepts(positions_.back().state); });
}

bool Matcher::finished() {
  return with_table([&] { return table_->automaton().finished(positions_.back().state); });
}

std::string Matcher::place() {
  return with_table([&] { return table_->automaton().next_bytes(positions_.back().state); });
}

void Matcher::evict() {
  with_table([&] { table_->reset(); });
}

}  // namespace tramontane
