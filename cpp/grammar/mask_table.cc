#include "grammar/mask_table.h"

#include <algorithm>

#include "base/error.h"

namespace tramontane {

MaskTable::MaskTable(std::shared_ptr<const Grammar> grammar, const Vocabulary& vocabulary)
    : grammar_(std::move(grammar)),
      vocabulary_(vocabulary),
      path_(static_cast<size_t>(vocabulary.longest()) + 1) {}

Automaton& MaskTable::automaton() {
  if (!automaton_) automaton_.emplace(*grammar_, vocabulary_.longest() + 1);
  return *automaton_;
}

void MaskTable::reset() noexcept {
  by_key_.clear();
  masks_.clear();
  automaton_.reset();
  ++round_;
}

Mask MaskTable::mask(Automaton::State state, bool dummy_space) {
  const Automaton::State saturated = automaton_->saturate(state);
  const uint64_t key = 2 * static_cast<uint64_t>(saturated) + (dummy_space ? 1 : 0);
  const auto found = by_key_.find(key);
  if (found != by_key_.end()) {
    masks_.splice(masks_.begin(), masks_, found->second);
    return found->second->mask;
  }
  masks_.push_front(
      {key, std::make_shared<const std::vector<uint32_t>>(find(saturated, dummy_space))});
  by_key_.emplace(key, masks_.begin());
  if (masks_.size() * vocabulary_.mask_words() * sizeof(uint32_t) > kMaxMaskBytes &&
      masks_.size() > 1) {
    by_key_.erase(masks_.back().key);
    masks_.pop_back();
  }
  return masks_.front().mask;
}

std::vector<uint32_t> MaskTable::find(Automaton::State state, bool dummy_space) {
  const int32_t slices = vocabulary_.slices();
  // So many plain characters may follow whatever they are, so that tokens of them are allowed.
  int32_t characters = 0;
  bool no_more = false;  // And not one more.
  if (!dummy_space) {
    for (Automaton::State at = state; characters < slices; ++characters) {
      const Automaton::State next = automaton_->after_plain(at);
      no_more = next == Automaton::kDead;
      if (no_more || next == Automaton::kNoState) break;
      if (next == at) characters = slices;
      at = next;
    }
  }
  const uint32_t* slice = vocabulary_.slice(characters);
  std::vector<uint32_t> bits(slice, slice + vocabulary_.mask_words());
  const bool all_plain = no_more || characters >= slices - 1;
  walk(all_plain ? vocabulary_.rest() : vocabulary_.all(), state, dummy_space, &bits);
  automaton_->for_tokens(state, [&](int32_t token) {
    if (token < vocabulary_.size()) bits[token / 32] |= uint32_t{1} << (token % 32);
  });
  return bits;
}

void MaskTable::walk(const TokenTree& tree, Automaton::State start, bool dummy_space,
                     std::vector<uint32_t>* bits) {
  const std::vector<TokenTree::Node>& nodes = tree.nodes();
  path_[0] = start;
  for (size_t i = 0; i < nodes.size();) {
    const TokenTree::Node& node = nodes[i];
    const bool is_dummy = dummy_space && node.depth == 0 && node.byte == ' ';
    const Automaton::State state =
        is_dummy ? start : automaton_->step(path_[node.depth], node.byte);
    if (state == Automaton::kDead) {
      i = node.after;
      continue;
    }
    path_[static_cast<size_t>(node.depth) + 1] = state;
    for (int32_t token = node.token; token >= 0; token = vocabulary_.same_as(token)) {
      (*bits)[token / 32] |= uint32_t{1} << (token % 32);
    }
    ++i;
  }
}

bool SharedGrammar::accepts(const uint8_t* text, size_t bytes) const {
  constexpr int32_t kBound = 8;  // Counts below it have rows of transitions.
  try {
    Automaton automaton(*grammar_, kBound);
    Automaton::State state = automaton.start();
    for (size_t i = 0; i < bytes && state != Automaton::kDead; ++i) {
      state = automaton.step(state, text[i]);
    }
    return automaton.accepts(state);
  } catch (const AutomatonFull&) {
    throw Error("INVALID_GRAMMAR", "the grammar needs more than 64 MB for this text");
  }
}

std::shared_ptr<MaskTable> SharedGrammar::masks(
    const std::shared_ptr<const Vocabulary>& vocabulary) {
  const std::lock_guard lock(mutex_);
  for (const Entry& entry : tables_) {
    if (entry.vocabulary.lock() == vocabulary) return entry.table;
  }
  tables_.erase(std::remove_if(tables_.begin(), tables_.end(),
                               [](const Entry& entry) { return entry.vocabulary.expired(); }),
                tables_.end());
  tables_.push_back({vocabulary, std::make_shared<MaskTable>(grammar_, *vocabulary)});
  return tables_.back().table;
}

}  // namespace tramontane
