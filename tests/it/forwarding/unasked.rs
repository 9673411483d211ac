//! Children, and weir on pipes: who may ask whom, where messages have no streams. And headers that went out of date.
