------------------------------ MODULE Requests ------------------------------
(***************************************************************************)
(* How a session's operations get into the queue: one unacknowledged send  *)
(* at a time, retried as it is, deduplicated by SQS for a while, given up  *)
(* before that ends; and what becomes of sends that arrive after the       *)
(* session has attached elsewhere. ../architecture.md, "A write" and       *)
(* "Sessions and liveness".                                                *)
(*                                                                         *)
(* Attachment 1 exists; attachment 2 begins whenever the client moves, and *)
(* its first operation is the attach. A message is an attachment and a     *)
(* range of its operations.                                                *)
(***************************************************************************)
EXTENDS Naturals, Sequences, FiniteSets

CONSTANTS
    Operations,  \* of each attachment
    MaxSends,    \* of one message, the first one counted
    Broken

Attachments == {1, 2}

VARIABLES
    next,       \* of each attachment: its first operation that is in no message yet
    hand,       \*   the messages sent and not acknowledged, with the number of sends
    open,       \*   whether its connection still stands
    network,    \* copies on their way, <<message, number of the send>>
    recent,     \* messages within SQS's deduplication interval
    queue,      \* messages in the order of their SequenceNumber
    moved       \* the client has gone to attachment 2

vars == <<next, hand, open, network, recent, queue, moved>>

Init ==
    /\ next = [a \in Attachments |-> 1]
    /\ hand = [a \in Attachments |-> {}]
    /\ open = [a \in Attachments |-> TRUE]
    /\ network = {}
    /\ recent = {}
    /\ queue = <<>>
    /\ moved = FALSE

Move ==
    /\ ~moved
    /\ moved' = TRUE
    /\ UNCHANGED <<next, hand, open, network, recent, queue>>

\* Everything that waits, as one message.
Compose(a) ==
    /\ open[a]
    /\ a = 2 => moved
    /\ Cardinality(hand[a]) < IF Broken = "twoSends" THEN 2 ELSE 1
    /\ \E last \in next[a]..Operations :
        /\ hand' = [hand EXCEPT ![a] = @ \cup {[of |-> a, first |-> next[a], last |-> last, sends |-> 0]}]
        /\ next' = [next EXCEPT ![a] = last + 1]
    /\ UNCHANGED <<open, network, recent, queue, moved>>

Content(m) == [of |-> m.of, first |-> m.first, last |-> m.last]

Send(a) ==
    \E m \in hand[a] :
        /\ m.sends < MaxSends
        /\ hand' = [hand EXCEPT ![a] = (@ \ {m}) \cup {[m EXCEPT !.sends = @ + 1]}]
        /\ network' = network \cup {<<Content(m), m.sends + 1>>}
        /\ UNCHANGED <<next, open, recent, queue, moved>>

\* A retry that takes along what has come in the meantime.
Recompose(a) ==
    /\ Broken = "recompose"
    /\ open[a] /\ next[a] <= Operations
    /\ \E m \in hand[a] :
        /\ m.sends > 0 /\ m.last = next[a] - 1
        /\ hand' = [hand EXCEPT ![a] = (@ \ {m}) \cup {[m EXCEPT !.last = next[a]]}]
        /\ next' = [next EXCEPT ![a] = @ + 1]
    /\ UNCHANGED <<open, network, recent, queue, moved>>

Arrive ==
    \E c \in network :
        /\ network' = network \ {c}
        /\ \/ UNCHANGED <<recent, queue>>  \* lost
           \/ c[1] \in recent /\ UNCHANGED <<recent, queue>>
           \/ c[1] \notin recent /\ recent' = recent \cup {c[1]} /\ queue' = Append(queue, c[1])
        /\ UNCHANGED <<next, hand, open, moved>>

\* The answer to any of the sends arrives.
Acknowledge(a) ==
    \E m \in hand[a] :
        /\ \E k \in 1..Len(queue) : queue[k] = Content(m)
        /\ hand' = [hand EXCEPT ![a] = @ \ {m}]
        /\ UNCHANGED <<next, open, network, recent, queue, moved>>

GiveUp(a) ==
    /\ hand[a] # {}
    /\ \A m \in hand[a] : m.sends > 0
    /\ hand' = [hand EXCEPT ![a] = {}]
    /\ open' = [open EXCEPT ![a] = Broken = "keepConnection"]
    /\ UNCHANGED <<next, network, recent, queue, moved>>

\* Five minutes after it arrived a message is forgotten. By then its sender has given up and nothing of it is under way.
Forget ==
    \E m \in recent :
        /\ \/ Broken = "retryTooLong"
           \/ /\ \A h \in hand[m.of] : Content(h) # m
              /\ \A c \in network : c[1] # m
        /\ recent' = recent \ {m}
        /\ UNCHANGED <<next, hand, open, network, queue, moved>>

Done == network = {} /\ recent = {} /\ moved /\ \A a \in Attachments : hand[a] = {} /\ (next[a] > Operations \/ ~open[a])

Next ==
    \/ Move \/ Arrive \/ Forget
    \/ \E a \in Attachments : Compose(a) \/ Send(a) \/ Recompose(a) \/ Acknowledge(a) \/ GiveUp(a)
    \/ Done /\ UNCHANGED vars

Spec == Init /\ [][Next]_vars

-----------------------------------------------------------------------------
\* What the sequencer makes of the queue: an attach raises the epoch, and an operation of another epoch is
\* SESSION_MOVED.
RECURSIVE Flat(_), Applied(_, _)
Flat(q) == IF q = <<>> THEN <<>>
           ELSE [k \in 1..Head(q).last - Head(q).first + 1 |-> <<Head(q).of, Head(q).first + k - 1>>] \o Flat(Tail(q))
Applied(ops, epoch) ==
    IF ops = <<>> THEN <<>>
    ELSE LET op == Head(ops)
             now == IF op = <<2, 1>> THEN 2 ELSE epoch
         IN  (IF op[1] = now \/ Broken = "noEpoch" THEN <<op>> ELSE <<>>) \o Applied(Tail(ops), now)

\* Z2: a session's operations take effect once, in the order sent, none passed over, none after the session has
\* attached elsewhere.
FifoOnce ==
    LET done == Applied(Flat(queue), 1)
    IN  \A k \in 1..Len(done) :
            LET op == done[k]
            IN  \/ op = <<1, 1>> /\ k = 1
                \/ op = <<2, 1>> /\ (k = 1 \/ done[k - 1][1] = 1)
                \/ k > 1 /\ op = <<done[k - 1][1], done[k - 1][2] + 1>>

-----------------------------------------------------------------------------
NeverLate == ~\E k \in 2..Len(queue) : queue[k].of = 1 /\ queue[k - 1].of = 2
=============================================================================
