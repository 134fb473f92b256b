// What all matchers of one grammar and one vocabulary share: the automaton, and the masks found.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "grammar/automaton.h"
#include "grammar/vocabulary.h"

namespace tramontane {

// Bits of the tokens allowed next, [Vocabulary::mask_words()].
using Mask = std::shared_ptr<const std::vector<uint32_t>>;

// A caller holds `mutex` through all calls, and through what it does with states of automaton():
// reset() ends these.
class MaskTable {
 public:
  static constexpr size_t kMaxMaskBytes = size_t{16} << 20;

  // `vocabulary` outlives it.
  MaskTable(std::shared_ptr<const Grammar> grammar, const Vocabulary& vocabulary);

  std::mutex mutex;

  // Throws as making states does.
  Automaton& automaton();

  // At the start of a text with `dummy_space`, one space before the text counts for nothing: it is
  // how SentencePiece begins every text.
  Mask mask(Automaton::State state, bool dummy_space);

  // Forgets everything. Masks that are held stay.
  void reset() noexcept;
  // Counts the resets.
  uint64_t round() const { return round_; }

 private:
  struct Entry {
    uint64_t key;
    Mask mask;
  };

  std::vector<uint32_t> find(Automaton::State state, bool dummy_space);
  void walk(const TokenTree& tree, Automaton::State state, bool dummy_space,
            std::vector<uint32_t>* bits);

  const std::shared_ptr<const Grammar> grammar_;
  const Vocabulary& vocabulary_;
  std::optional<Automaton> automaton_;  // Made when it is asked for.
  uint64_t round_ = 1;
  std::list<Entry> masks_;  // The last used first.
  std::unordered_map<uint64_t, std::list<Entry>::iterator> by_key_;
  std::vector<Automaton::State> path_;  // While walking: the state before each depth.
};

// A grammar with the tables of the vocabularies it is used with. Any thread may call it.
class SharedGrammar {
 public:
  explicit SharedGrammar(Grammar grammar)
      : grammar_(std::make_shared<const Grammar>(std::move(grammar))) {}

  // Whether it is a whole text of the grammar. Throws Error INVALID_GRAMMAR where that is too much
  // to find out.
  bool accepts(const uint8_t* text, size_t bytes) const;

  // The tables of a vocabulary, which stay for as long as somebody else has the vocabulary.
  std::shared_ptr<MaskTable> masks(const std::shared_ptr<const Vocabulary>& vocabulary);

 private:
  struct Entry {
    std::weak_ptr<const Vocabulary> vocabulary;
    std::shared_ptr<MaskTable> table;
  };

  const std::shared_ptr<const Grammar> grammar_;
  std::mutex mutex_;
  std::vector<Entry> tables_;
};

}  // namespace tramontane
