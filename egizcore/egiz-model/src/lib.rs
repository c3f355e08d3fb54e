//! The nouns of OpenEgiz: Things, values, time, quality and the records that enter the journal.
