//! `#[derive(Module)]`: walks the fields of a struct.
//!
//! The derive generates `visit` and `visit_mut` and nothing else: each field is visited under its name, in the order
//! of declaration. A field marked `#[module(skip)]` is left out; every other field must implement `Visitable`
//! (parameters, buffers, layers, `Vec`, `Option` and tuples of them). A struct marked `#[module(block)]` implements `Block`,
//! and shows itself as one to a walk that changes it.

use proc_macro::TokenStream;
use quote::{format_ident, quote};
use syn::{Data, DeriveInput, Fields, Index, parse_macro_input};

/// Implements `rasgo::nn::Visitable` for a struct, so that it can be a `Module`.
///
/// ```ignore
/// #[derive(Debug, Module)]
/// struct Conv { conv: Conv2d, fc: Linear }
/// ```
#[proc_macro_derive(Module, attributes(module))]
pub fn derive_module(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}

fn expand(input: &DeriveInput) -> syn::Result<proc_macro2::TokenStream> {
    let Data::Struct(data) = &input.data else {
        return Err(syn::Error::new_spanned(&input.ident, "derive(Module) is for structs"));
    };
    let mut accesses = Vec::new();
    match &data.fields {
        Fields::Named(fields) => {
            for field in &fields.named {
                if !has_option(&field.attrs, "skip")? {
                    let ident = field.ident.as_ref().expect("a named field");
                    let name = ident.to_string();
                    let name = name.trim_start_matches("r#").to_string();
                    accesses.push((quote!(#ident), name));
                }
            }
        }
        Fields::Unnamed(fields) => {
            for (position, field) in fields.unnamed.iter().enumerate() {
                if !has_option(&field.attrs, "skip")? {
                    let index = Index::from(position);
                    accesses.push((quote!(#index), position.to_string()));
                }
            }
        }
        Fields::Unit => {}
    }
    let (fields, names): (Vec<_>, Vec<_>) = accesses.into_iter().unzip();
    let ident = &input.ident;
    let visitor = format_ident!("__visitor");
    let block =
        has_option(&input.attrs, "block")?.then(|| quote!(#visitor.item(::rasgo::nn::ItemMut::Block(self));));
    let (impl_generics, type_generics, where_clause) = input.generics.split_for_impl();
    Ok(quote! {
        impl #impl_generics ::rasgo::nn::Visitable for #ident #type_generics #where_clause {
            fn visit(&self, #visitor: &mut dyn ::rasgo::nn::Visitor) {
                #(#visitor.field(#names, &self.#fields);)*
            }
            fn visit_mut(&mut self, #visitor: &mut dyn ::rasgo::nn::VisitorMut) {
                #block
                #(#visitor.field(#names, &mut self.#fields);)*
            }
        }
    })
}

/// Whether `#[module(…)]` names the one option that there is for a field or a struct.
fn has_option(attributes: &[syn::Attribute], option: &str) -> syn::Result<bool> {
    let mut has = false;
    for attribute in attributes {
        if attribute.path().is_ident("module") {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident(option) {
                    has = true;
                    Ok(())
                } else {
                    Err(meta.error(format!("the one option is `{option}`")))
                }
            })?;
        }
    }
    Ok(has)
}
