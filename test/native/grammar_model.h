// For tests of grammars: tables written by hand or at random, a small vocabulary, and a matcher
// that follows every stack by itself, byte by byte.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "grammar/grammar.h"
#include "grammar/vocabulary.h"

namespace tramontane::test {

constexpr int32_t kNoMost = -1;

// Tables, from the end of what they match to its start: each call adds what goes on at `next`, and
// returns where it begins.
struct Tables {
  std::vector<int32_t> nodes, edges, most;

  // Texts start at the first node, which goes on wherever start() says.
  Tables() { add(Op::kSplit, 0, 0, 0); }

  int32_t add(Op op, int32_t a, int32_t b, int32_t next, int32_t most_times = 0) {
    nodes.insert(nodes.end(), {static_cast<int32_t>(op), a, b, next});
    most.push_back(most_times);
    return static_cast<int32_t>(most.size()) - 1;
  }
  void set_edges(int32_t split, const std::vector<int32_t>& to) {
    nodes[static_cast<size_t>(split) * 4 + 1] = static_cast<int32_t>(edges.size());
    nodes[static_cast<size_t>(split) * 4 + 2] = static_cast<int32_t>(to.size());
    edges.insert(edges.end(), to.begin(), to.end());
  }
  Tables& start(int32_t node) {
    set_edges(0, {node});
    return *this;
  }

  int32_t end() { return add(Op::kEnd, 0, 0, 0); }
  int32_t bytes(int32_t first, int32_t last, int32_t next) {
    return add(Op::kBytes, first, last, next);
  }
  int32_t text(const std::string& text, int32_t next) {
    for (size_t i = text.size(); i > 0; --i) {
      const auto byte = static_cast<uint8_t>(text[i - 1]);
      next = bytes(byte, byte, next);
    }
    return next;
  }
  int32_t choice(const std::vector<int32_t>& to) {
    const int32_t split = add(Op::kSplit, 0, 0, 0);
    set_edges(split, to);
    return split;
  }
  // `body` ends in end().
  int32_t repeat(int32_t body, int32_t least, int32_t most_times, int32_t next) {
    return add(Op::kRepeat, body, least, next, most_times);
  }
  int32_t call(int32_t rule, int32_t next) { return add(Op::kCall, rule, 0, next); }
  int32_t token(int32_t id, int32_t next) { return add(Op::kToken, id, 0, next); }

  // One plain character: UTF-8 without `"`, `\` and U+0000 to U+001F.
  int32_t plain(int32_t next) {
    const int32_t one = bytes(0x80, 0xbf, next), two = bytes(0x80, 0xbf, one);
    return choice({bytes(' ', '!', next), bytes('#', '[', next), bytes(']', 0x7f, next),
                   bytes(0xc2, 0xdf, one), bytes(0xe0, 0xe0, bytes(0xa0, 0xbf, one)),
                   bytes(0xe1, 0xec, two), bytes(0xed, 0xed, bytes(0x80, 0x9f, one)),
                   bytes(0xee, 0xef, two), bytes(0xf0, 0xf0, bytes(0x90, 0xbf, two)),
                   bytes(0xf1, 0xf3, bytes(0x80, 0xbf, two)),
                   bytes(0xf4, 0xf4, bytes(0x80, 0x8f, two))});
  }
  // A plain character, or `\"`.
  int32_t character(int32_t next) { return choice({plain(next), text("\\\"", next)}); }
  int32_t any_characters(int32_t next) {
    const int32_t loop = add(Op::kSplit, 0, 0, 0);
    set_edges(loop, {character(loop), next});
    return loop;
  }
  // ASCII around and around; after a character beyond it only `next` follows.
  int32_t ascii_and_one_other(int32_t next) {
    const int32_t loop = add(Op::kSplit, 0, 0, 0);
    const int32_t other = choice({bytes(0xc2, 0xdf, bytes(0x80, 0xbf, next)),
                                  bytes(0xe1, 0xec, bytes(0x80, 0xbf, bytes(0x80, 0xbf, next)))});
    set_edges(loop, {bytes(' ', '!', loop), bytes('#', '[', loop), bytes(']', 0x7f, loop), other});
    return loop;
  }
  int32_t characters(int32_t least, int32_t most_times, int32_t next) {
    return repeat(character(end()), least, most_times, next);
  }

  Grammar grammar() const { return Grammar(nodes, edges, most); }
};

using Random = std::mt19937;
inline int32_t below(Random& random, int32_t limit) {
  return static_cast<int32_t>(random() % static_cast<uint32_t>(limit));
}

// Some rules of a few letters, quotes, strings, counts, choices, calls and control tokens. May be
// left recursive, or repeat what is empty.
inline int32_t random_expression(Random& random, Tables& tables, const std::vector<int32_t>& rules,
                                 int32_t depth, int32_t next) {
  const auto inner = [&](int32_t to) {
    return random_expression(random, tables, rules, depth - 1, to);
  };
  const int32_t least = below(random, 2) == 0 ? below(random, 4) : below(random, 12);
  const int32_t most = below(random, 3) == 0 ? kNoMost : least + below(random, 5);
  switch (below(random, depth > 0 ? 16 : 4)) {
    case 0:
      return tables.text(std::string(1, "ab\"1"[below(random, 4)]), next);
    case 1:
      return tables.bytes('a', 'c', next);
    case 2:
      return tables.text("\xc3\xa9", next);
    case 3:
      return tables.text("ab", next);
    case 4:
      return tables.text("\"", tables.any_characters(tables.text("\"", next)));
    case 5:
      return tables.characters(least, most, tables.text("\"", next));
    case 6:  // Others than the REPEAT take plain characters too.
      return tables.characters(least, most, inner(next));
    case 7:
      return tables.token(below(random, 3), next);
    case 8:
      return tables.repeat(inner(tables.end()), least, most, next);
    case 9:
      return tables.choice({inner(next), inner(next), next});
    case 10:
      return tables.choice({inner(next), inner(next)});
    case 11:
      return tables.call(rules[static_cast<size_t>(below(random, 2))], next);
    case 12:
      return tables.ascii_and_one_other(tables.text("\"", next));
    case 13: {  // Whole characters, but what they lead to differs.
      const int32_t loop = tables.choice({});
      const int32_t other = tables.plain(tables.text("\"", next));
      tables.set_edges(loop, {tables.bytes('a', 'c', loop), other});
      return loop;
    }
    default:
      return inner(inner(next));
  }
}

inline Tables random_tables(uint32_t seed) {
  Random random(seed);
  Tables tables;
  const std::vector<int32_t> rules = {tables.choice({}), tables.choice({})};
  for (const int32_t rule : rules) {
    std::vector<int32_t> ways;
    for (int i = 0; i < 2; ++i) {
      ways.push_back(random_expression(random, tables, rules, 3, tables.end()));
    }
    tables.set_edges(rule, ways);
  }
  return tables.start(rules[0]);
}

// Every place with a stack of its own, and nothing remembered.
class NaiveMatcher {
 public:
  explicit NaiveMatcher(const Tables& tables) : tables_(&tables) { follow({0, {}}); }

  bool alive() const { return accepts_ || !places_.empty(); }
  bool accepts() const { return accepts_; }
  size_t places() const { return places_.size(); }
  bool finished() const { return accepts_ && places_.empty(); }

  NaiveMatcher by_byte(uint8_t byte) const {
    return moved([&](const int32_t* node) {
      return static_cast<Op>(node[0]) == Op::kBytes && node[1] <= byte && byte <= node[2];
    });
  }
  NaiveMatcher by_id(int32_t token) const {
    return moved([&](const int32_t* node) {
      return static_cast<Op>(node[0]) == Op::kToken && node[1] == token;
    });
  }
  NaiveMatcher by_text(const uint8_t* at, const uint8_t* end, bool dummy_space) const {
    if (dummy_space && *at == ' ' && ++at == end) return *this;
    NaiveMatcher matcher = by_byte(*at++);
    for (; at < end && matcher.alive(); ++at) matcher = matcher.by_byte(*at);
    return matcher;
  }
  NaiveMatcher with(const NaiveMatcher& other) const {
    NaiveMatcher both = *this;
    both.places_.insert(other.places_.begin(), other.places_.end());
    both.accepts_ |= other.accepts_;
    return both;
  }

 private:
  NaiveMatcher() = default;

  struct Frame {
    int32_t node, made;  // The CALL or REPEAT, and how often it was made.
    auto operator<=>(const Frame&) const = default;
  };
  struct Position {
    int32_t node;
    std::vector<Frame> stack;
    auto operator<=>(const Position&) const = default;
  };

  const int32_t* node(int32_t index) const {
    return &tables_->nodes[static_cast<size_t>(index) * 4];
  }

  template <typename Takes>
  NaiveMatcher moved(const Takes& takes) const {
    NaiveMatcher matcher;
    matcher.tables_ = tables_;
    for (const Position& place : places_) {
      if (takes(node(place.node))) matcher.follow({node(place.node)[3], place.stack});
    }
    matcher.seen_.clear();
    return matcher;
  }

  void follow(Position place) {
    if (!seen_.insert(place).second) return;
    const int32_t* row = node(place.node);
    switch (static_cast<Op>(row[0])) {
      case Op::kBytes:
      case Op::kToken:
        places_.insert(place);
        return;
      case Op::kSplit:
        for (int32_t i = 0; i < row[2]; ++i) {
          follow({tables_->edges[static_cast<size_t>(row[1] + i)], place.stack});
        }
        return;
      case Op::kCall:
      case Op::kRepeat: {
        place.stack.push_back({place.node, 0});
        return static_cast<Op>(row[0]) == Op::kCall ? follow({row[1], place.stack}) : around(place);
      }
      case Op::kEnd: {
        if (place.stack.empty()) {
          accepts_ = true;
          return;
        }
        Frame& frame = place.stack.back();
        if (static_cast<Op>(node(frame.node)[0]) != Op::kCall) {
          ++frame.made;
          return around(place);
        }
        const int32_t next = node(frame.node)[3];
        place.stack.pop_back();
        return follow({next, place.stack});
      }
    }
  }

  // At the REPEAT on top of the stack.
  void around(Position place) {
    const Frame frame = place.stack.back();
    const int32_t* row = node(frame.node);
    const int32_t most = tables_->most[static_cast<size_t>(frame.node)];
    if (most < 0 || frame.made < most) follow({row[1], place.stack});
    if (frame.made < row[2]) return;
    place.stack.pop_back();
    follow({row[3], place.stack});
  }

  const Tables* tables_ = nullptr;
  std::set<Position> places_, seen_;
  bool accepts_ = false;
};

struct Tokens {
  std::vector<std::string> texts;
  std::vector<TokenKind> kinds;

  Vocabulary vocabulary() const {
    std::vector<uint8_t> bytes, kind_numbers;
    std::vector<int32_t> offsets = {0};
    for (size_t i = 0; i < texts.size(); ++i) {
      bytes.insert(bytes.end(), texts[i].begin(), texts[i].end());
      offsets.push_back(static_cast<int32_t>(bytes.size()));
      kind_numbers.push_back(static_cast<uint8_t>(kinds[i]));
    }
    return Vocabulary(std::move(bytes), std::move(offsets), kind_numbers);
  }
};

// Three control tokens, all bytes, characters, and pieces made of them.
inline Tokens random_tokens(uint32_t seed, int32_t pieces) {
  Random random(seed);
  Tokens tokens;
  const auto add = [&](std::string text, TokenKind kind) {
    tokens.texts.push_back(std::move(text));
    tokens.kinds.push_back(kind);
  };
  add("<s>", TokenKind::kNone);
  add("</s>", TokenKind::kNone);
  add("\"", TokenKind::kNone);
  for (int byte = 0; byte < 256; ++byte) {
    add(std::string(1, static_cast<char>(byte)), TokenKind::kByte);
  }
  const std::vector<std::string> parts = {"a",
                                          "b",
                                          "c",
                                          "1",
                                          " ",
                                          "\"",
                                          "\\",
                                          "\xc3\xa9",
                                          "\xe2\x82\xac",
                                          "\xf0\x9f\x98\x80",
                                          "\xc3",
                                          "\xa9",
                                          "\xed\xa0\x80"};
  for (size_t i = 0; i < 7; ++i) add(parts[i], TokenKind::kText);
  for (int32_t i = 0; i < pieces; ++i) {
    std::string text;
    const int32_t length = 1 + below(random, 6);
    const size_t used = below(random, 4) == 0 ? parts.size() : 5;
    for (int32_t part = 0; part < length; ++part) {
      text += parts[static_cast<size_t>(below(random, static_cast<int32_t>(used)))];
    }
    add(text, TokenKind::kText);
  }
  return tokens;
}

}  // namespace tramontane::test
