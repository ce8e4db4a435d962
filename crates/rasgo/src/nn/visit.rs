//! Walking a module: everything that is not computing (counting, saving, loading, freezing) is a walk.

use super::fuse::Block;
use super::parameter::{Counter, LayerName, Mode, Parameter, State};

/// A struct whose fields can be walked; `#[derive(Module)]` implements it.
pub trait Visitable {
    /// Visits the fields in order.
    fn visit(&self, visitor: &mut dyn Visitor);
    /// Visits the fields in order, to change them.
    fn visit_mut(&mut self, visitor: &mut dyn VisitorMut);
}

/// What a walk finds at the end of a path.
#[derive(Debug)]
pub enum Item<'a> {
    /// A tensor that training changes.
    Parameter(&'a Parameter),
    /// A tensor that belongs to the state and is not trained.
    State(&'a State),
    /// The cell that holds a layer's path; it is at the layer itself.
    Name(&'a LayerName),
    /// How often a random layer has run; kept in checkpoints.
    Counter(&'a Counter),
    /// Whether the layer trains or evaluates.
    Mode(&'a Mode),
    /// The normalisation is folded into the layer before it.
    Folded,
}

/// As [`Item`], to be changed.
#[derive(Debug)]
pub enum ItemMut<'a> {
    /// A tensor that training changes.
    Parameter(&'a mut Parameter),
    /// A tensor that belongs to the state and is not trained.
    State(&'a mut State),
    /// Whether the layer trains or evaluates.
    Mode(&'a mut Mode),
    /// How often a random layer has run.
    Counter(&'a mut Counter),
    /// A module that can fold its normalisations; before its fields.
    Block(&'a mut dyn Block),
}

/// Receives the fields of a module.
pub trait Visitor {
    /// A field of that name; without a name, its own fields stand in its place.
    fn field(&mut self, name: &str, value: &dyn Visitable);
    /// The end of a path.
    fn item(&mut self, item: Item<'_>);
}

/// Receives the fields of a module, to change them.
pub trait VisitorMut {
    /// A field of that name.
    fn field(&mut self, name: &str, value: &mut dyn Visitable);
    /// The end of a path.
    fn item(&mut self, item: ItemMut<'_>);
}

/// A path that grows and shrinks with the walk.
struct Path(String);

impl Path {
    fn enter(&mut self, name: &str) -> usize {
        let before = self.0.len();
        if !self.0.is_empty() && !name.is_empty() {
            self.0.push('.');
        }
        self.0.push_str(name);
        before
    }
}

struct Walk<F> {
    path: Path,
    each: F,
}

impl<F: FnMut(&str, Item<'_>)> Visitor for Walk<F> {
    fn field(&mut self, name: &str, value: &dyn Visitable) {
        let before = self.path.enter(name);
        value.visit(self);
        self.path.0.truncate(before);
    }

    fn item(&mut self, item: Item<'_>) {
        (self.each)(&self.path.0, item);
    }
}

impl<F: FnMut(&str, ItemMut<'_>)> VisitorMut for Walk<F> {
    fn field(&mut self, name: &str, value: &mut dyn Visitable) {
        let before = self.path.enter(name);
        value.visit_mut(self);
        self.path.0.truncate(before);
    }

    fn item(&mut self, item: ItemMut<'_>) {
        (self.each)(&self.path.0, item);
    }
}

/// Calls `each` with the dotted path of every item, in the order of declaration.
pub fn walk(module: &dyn Visitable, each: impl FnMut(&str, Item<'_>)) {
    module.visit(&mut Walk { path: Path(String::new()), each });
}

/// Calls `each` with the dotted path of every item, to change it.
pub fn walk_mut(module: &mut dyn Visitable, each: impl FnMut(&str, ItemMut<'_>)) {
    module.visit_mut(&mut Walk { path: Path(String::new()), each });
}

impl<T: Visitable> Visitable for Vec<T> {
    fn visit(&self, visitor: &mut dyn Visitor) {
        for (i, value) in self.iter().enumerate() {
            visitor.field(&i.to_string(), value);
        }
    }

    fn visit_mut(&mut self, visitor: &mut dyn VisitorMut) {
        for (i, value) in self.iter_mut().enumerate() {
            visitor.field(&i.to_string(), value);
        }
    }
}

/// An absent field has no items; a present one is visited under the field's own name.
impl<T: Visitable> Visitable for Option<T> {
    fn visit(&self, visitor: &mut dyn Visitor) {
        if let Some(value) = self {
            value.visit(visitor);
        }
    }

    fn visit_mut(&mut self, visitor: &mut dyn VisitorMut) {
        if let Some(value) = self {
            value.visit_mut(visitor);
        }
    }
}

impl<T: Visitable + ?Sized> Visitable for Box<T> {
    fn visit(&self, visitor: &mut dyn Visitor) {
        (**self).visit(visitor);
    }

    fn visit_mut(&mut self, visitor: &mut dyn VisitorMut) {
        (**self).visit_mut(visitor);
    }
}
