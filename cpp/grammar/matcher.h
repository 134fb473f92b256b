// Where in a grammar one sequence of tokens is.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "grammar/mask_table.h"

namespace tramontane {

struct MatcherOptions {
  std::vector<int32_t> end_tokens;  // Allowed where the text may end, whatever their bytes.
  // One space that begins the text, or what follows a control token, counts for nothing.
  bool dummy_space = false;
};

// Used by one thread at a time; what it shares with other matchers is locked. What throws Error
// leaves it as it was.
class Matcher {
 public:
  // Throws Error INVALID_OPTION for an end token that is none.
  Matcher(const std::shared_ptr<SharedGrammar>& grammar,
          std::shared_ptr<const Vocabulary> vocabulary, MatcherOptions options);

  // Throws Error INVALID_GRAMMAR where too much would have to be known to say.
  Mask mask();
  // False, and nothing has changed: the token is not allowed. Throws as mask() does.
  bool accept(int32_t token);
  // Takes the last `tokens` tokens back: at most all.
  void rollback(int32_t tokens);

  // The text may end here.
  bool accepting();
  // And cannot go on.
  bool finished();
  // What may follow, for messages.
  std::string place();

  // Forgets all that is only kept to be fast, for tests: nothing changes by it.
  void evict();

 private:
  struct Position {
    int32_t token;  // That led here.
    Automaton::State state;
    bool dummy_space;  // May be skipped here.
  };

  template <typename Work>
  auto with_table(const Work& work);
  void catch_up();
  bool advance(int32_t token);
  bool is_end(int32_t token) const;

  const std::shared_ptr<const Vocabulary> vocabulary_;  // Keeps the table.
  const std::shared_ptr<MaskTable> table_;
  const MatcherOptions options_;
  std::vector<Position> positions_;  // The first is the start, of no token.
  uint64_t round_ = 0;               // Of the table that the states are of.
};

}  // namespace tramontane
